"""What `doctor` is told: block devices by a tree like /sys, exports, the environment of a unit, who never answers."""

import os
import threading
from pathlib import Path

import pytest

from rustfsfs.service import blockdevices, machinefacts, servers, volumefacts
from rustfsfs.service.blockdevices import Below
from rustfsfs.service.patience import Patience


def device(sys: Path, number: str, name: str, files: dict[str, str], slaves: tuple[str, ...] = ()) -> Path:
    """A block device below `sys`, on others that were made before."""
    folder = sys / "devices" / name
    folder.mkdir(parents=True)
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text + "\n")
    (folder / "slaves").mkdir()
    for slave in slaves:
        (folder / "slaves" / os.path.basename(slave)).symlink_to(sys / "devices" / slave)
    (sys / "dev" / "block").mkdir(parents=True, exist_ok=True)
    (sys / "dev" / "block" / number).symlink_to(folder)
    return folder


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """A disk that turns, its partition, LUKS on that, LVM on the LUKS; LVM on both LUKS and a plain disk."""
    device(tmp_path, "8:0", "sda", {"queue/rotational": "1"})
    device(tmp_path, "8:1", "sda/sda1", {"partition": "1"})
    device(tmp_path, "8:16", "sdb", {"queue/rotational": "0"})
    luks = {"dm/uuid": "CRYPT-LUKS2-5f-home", "queue/rotational": "1"}
    device(tmp_path, "254:0", "dm-0", luks, ("sda/sda1",))
    device(tmp_path, "254:1", "dm-1", {"dm/uuid": "LVM-x", "queue/rotational": "1"}, ("dm-0",))
    device(tmp_path, "254:2", "dm-2", {"dm/uuid": "LVM-y", "queue/rotational": "1"}, ("dm-0", "sdb"))
    return tmp_path


@pytest.mark.parametrize(
    ("number", "found"),
    [
        pytest.param("8:0", Below(False, True), id="a disk"),
        pytest.param("8:1", Below(False, True), id="its partition"),
        pytest.param("8:16", Below(False, False), id="an SSD"),
        pytest.param("254:0", Below(True, True), id="LUKS"),
        pytest.param("254:1", Below(True, True), id="LVM on LUKS"),
        pytest.param("254:2", Below(False, True), id="LVM on LUKS and on a plain disk"),
        pytest.param("0:45", Below(None, None), id="no device"),
    ],
)
def test_what_lies_below_a_file_system(sys: Path, number: str, found: Below) -> None:
    assert blockdevices.below(number, sys=str(sys)) == found


def test_who_exports_a_mount(tmp_path: Path) -> None:
    for path, text in {
        "etc/exports": "# /mnt/home h1(rw)\n/srv h1(rw)\n/mnt/my\\040home h1(rw)\n",
        "etc/exports.d/home.exports": "/mnt/home 10.0.0.0/8(rw,sync)\n",
        "etc/ganesha/home.conf": 'EXPORT {\n    Path = "/mnt/home";\n    Pseudo = "/home";\n}\n',
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = servers.exporters("/mnt/home", root=str(tmp_path))
    assert [os.path.basename(file) for file in found] == ["home.exports", "home.conf"]
    assert len(servers.exporters("/mnt/my home", root=str(tmp_path))) == 1
    assert servers.exporters("/mnt", root=str(tmp_path)) == ()


def test_the_environment_of_a_unit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "home.env"
    file.write_text("# credentials\nOSS_ACCESS_KEY_ID=id\nOSS_ACCESS_KEY_SECRET='a=b'\n\nnonsense\n")
    assert volumefacts._environment(str(file)) == {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "a=b"}
    assert volumefacts._environment(str(tmp_path / "none.env")) == {}


def test_what_never_answers_is_left_behind_and_named() -> None:
    release, patience = threading.Event(), Patience(0.01)
    assert patience.ask("a dead disk", release.wait, False) is False
    assert patience.stuck == ["a dead disk"]
    release.set()
    assert Patience(60.0).ask("a good one", release.wait, False) is True
    with pytest.raises(ZeroDivisionError):
        patience.ask("trouble", lambda: 1 // 0, 0)


def test_this_machine_can_be_looked_at() -> None:
    found = machinefacts.gather(Patience(5.0))
    assert found.kernel == os.uname().release and found.stuck == ()
    versions = dict(found.versions)
    assert versions["SQLite"].startswith("3.") and versions["libfuse"].startswith("3.")
    assert machinefacts.memory_bytes() > 0
