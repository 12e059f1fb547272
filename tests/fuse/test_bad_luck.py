"""Bad input and bad luck on real mounts: one clear sentence, a documented exit code, nothing lost or changed."""

import errno
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted import Mounted

pytestmark = [pytest.mark.fuse, pytest.mark.slow]
MIB = 1 << 20


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("rustfsfs: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def mount_on(mounted: Mounted, point: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return mounted.run("mount", mounted.volume, point, "--key-file", mounted.key, *more, check=False)


def test_a_volume_is_mounted_once_and_the_message_names_where(mounted: Mounted, tmp_path: Path) -> None:
    refused(mount_on(mounted, tmp_path), 5, str(mounted.point), str(mounted.pid))
    assert mounted.status()["volume"]["state"] == "mounted"


def test_mount_points_that_will_not_do(mounted: Mounted, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").write_text("")
    refused(mount_on(mounted, tmp_path / "missing"), 6, "does not exist")
    refused(mount_on(mounted, full), 5, "not empty")
    refused(mount_on(mounted, full / "something"), 6, "not a directory")
    refused(mount_on(mounted, mounted.point), 5, "mount point already")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(mount_on(mounted, empty, "-o", "fast"), 2, "fast", "noatime")
    refused(mounted.run("mount", tmp_path, empty, "--key-file", mounted.key, check=False), 4, str(tmp_path))
    refused(mounted.run("umount", empty, check=False), 4, str(empty))


def test_a_busy_mount_names_who_uses_it(mounted: Mounted) -> None:
    with open(mounted.point / "open", "w") as file:
        file.write("x")
        refused(mounted.run("umount", mounted.point, check=False), 5, f"({os.getpid()})")
    mounted.umount()


@pytest.mark.parametrize("how", ["SIGTERM", "fusermount3 -u", "lazy"])
def test_every_orderly_end_leaves_a_clean_volume(mounted: Mounted, how: str) -> None:
    (mounted.point / "f").write_bytes(b"x" * 5000)
    watch = os.pidfd_open(mounted.pid)
    if how == "SIGTERM":
        os.kill(mounted.pid, signal.SIGTERM)
    elif how == "lazy":
        mounted.run("umount", "--lazy", mounted.point)
    else:
        subprocess.run(["fusermount3", "-u", str(mounted.point)], check=True)
    assert select.select([watch], [], [], 30)[0], "the daemon did not end"
    os.close(watch)
    assert "clean" in mounted.run("status", mounted.volume, "--key-file", mounted.key).stdout
    mounted.mount()
    assert (mounted.point / "f").read_bytes() == b"x" * 5000


def test_a_dead_mount_is_taken_off_the_point_first(mounted: Mounted) -> None:
    (mounted.point / "f").write_bytes(b"there")
    mounted.point.stat()  # which the kernel answers from its cache for a day, daemon or not
    watch = os.pidfd_open(mounted.pid)
    os.kill(mounted.pid, signal.SIGKILL)
    select.select([watch], [], [], 30)
    os.close(watch)
    mounted.mount()
    assert (mounted.point / "f").read_bytes() == b"there"


def test_a_read_only_mount_changes_nothing(mounted: Mounted) -> None:
    (mounted.point / "f").write_bytes(b"hot data")
    mounted.kill()
    before = {path: path.read_bytes() for path in (mounted.volume / "journal").iterdir()}
    mounted.mount("--read-only")
    assert (mounted.point / "f").read_bytes() == b"hot data"
    with pytest.raises(OSError) as caught:
        (mounted.point / "g").write_bytes(b"")
    assert caught.value.errno == errno.EROFS
    status = mounted.status()
    assert status["healthy"] and all(task["state"] == "running" for task in status["tasks"]), status
    mounted.umount()
    assert {path: path.read_bytes() for path in (mounted.volume / "journal").iterdir()} == before


def spoil(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_damaged_frame_is_an_error_for_just_that_range(mounted: Mounted) -> None:
    data = random.Random(1).randbytes(4 * MIB)
    (mounted.point / "damaged").write_bytes(data)
    mounted.seal()
    (mounted.point / "whole").write_bytes(data[::-1])
    mounted.seal()
    mounted.umount()
    pack = min((mounted.volume / "packs").rglob("*.pack"))
    spoil(pack, 2 * MIB)
    mounted.mount()
    bad = 0
    with open(mounted.point / "damaged", "rb", buffering=0) as file:
        for offset in range(0, len(data), 65536):
            try:
                found = os.pread(file.fileno(), 65536, offset)
                assert found == data[offset : offset + len(found)]
                bad += 65536 - len(found)  # a short read: the error comes with the next one
            except OSError as exc:
                assert exc.errno == errno.EIO
                bad += 65536
    assert 0 < bad <= 2 * MIB, "only the damaged chunk, and what the kernel read ahead with it, may fail"
    assert (mounted.point / "whole").read_bytes() == data[::-1]
    log = (mounted.volume / "rustfsfs.log").read_text()
    assert log.count("damaged data") == 1 and "/damaged" in log
    findings = mounted.run("fsck", mounted.point, "--data", check=False)
    assert findings.returncode == 7
    assert any(line.endswith(": /damaged") for line in findings.stdout.splitlines())
    # the same bytes again: the chunk heals
    (mounted.point / "again").write_bytes(data)
    mounted.seal()
    mounted.remount()
    assert (mounted.point / "damaged").read_bytes() == data


def test_lost_metadata_comes_back_from_a_snapshot_with_everything_it_names(mounted: Mounted) -> None:
    draw = random.Random(2)
    kept = {f"f{number}": draw.randbytes(300_000) for number in range(6)}
    for name, data in kept.items():
        (mounted.point / name).write_bytes(data)
    mounted.seal()
    (mounted.point / "hot").write_bytes(b"hot at the snapshot" * 1000)
    mounted.remount()  # takes a snapshot
    # all of what the snapshot names is replaced now, and would be gone if nobody looked at the snapshot (I5)
    later = {name: draw.randbytes(300_000) for name in kept} | {"hot": b"cold"}
    kept["hot"] = b"hot at the snapshot" * 1000
    for name, data in later.items():
        (mounted.point / name).write_bytes(data)
    mounted.seal()
    mounted.kill()
    for name in ("metadata.db", "metadata.db-wal", "metadata.db-shm"):
        (mounted.volume / name).unlink()
    refused(mount_on(mounted, mounted.point), 4, "--restore-metadata")
    done = mounted.run("fsck", mounted.volume, "--restore-metadata", "--key-file", mounted.key)
    assert "epoch" in done.stdout and "UTC" in done.stdout
    assert mounted.fsck("--data") == []
    mounted.mount()
    assert sorted(os.listdir(mounted.point)) == sorted(kept)
    found = {name: (mounted.point / name).read_bytes() for name in kept}
    assert found in (kept, later), "neither the snapshot's state nor that of the journal behind it"
    (mounted.point / "new").write_bytes(b"and it goes on")
    mounted.seal()
    mounted.remount()
    assert (mounted.point / "new").read_bytes() == b"and it goes on"
    assert {name: (mounted.point / name).read_bytes() for name in kept} == found


@pytest.fixture
def on_two_disks(tmp_path: Path) -> Mounted:
    made = Mounted(tmp_path)
    made.format("--disk", tmp_path / "one", "--disk", tmp_path / "two", "--copies", "2")
    return made


def test_a_missing_disk_is_named_and_borne_when_asked(on_two_disks: Mounted) -> None:
    mounted = on_two_disks
    try:
        mounted.mount()
        (mounted.point / "f").write_bytes(b"on both disks " * 1000)
        mounted.seal()
        mounted.umount()
        shutil.move(mounted.base / "one", mounted.base / "elsewhere")
        (mounted.base / "one").mkdir()
        refused(mount_on(mounted, mounted.point), 6, str(mounted.base / "one"), "--degraded")
        mounted.mount("--degraded")
        assert (mounted.point / "f").read_bytes() == b"on both disks " * 1000
        assert mounted.status()["healthy"] is False
        assert os.listdir(mounted.base / "one") == []
    finally:
        mounted.clean_up()


def test_a_disk_is_added_filled_and_removed_again(mounted: Mounted) -> None:
    data = random.Random(3).randbytes(3 * MIB)
    (mounted.point / "f").write_bytes(data)
    mounted.seal()
    mounted.run("disk", "add", mounted.point, mounted.base / "more")
    mounted.run("disk", "remove", mounted.point, mounted.volume)
    assert list((mounted.volume / "packs").rglob("*.pack")) == []
    assert (mounted.point / "f").read_bytes() == data
    listed = mounted.run("disk", "list", mounted.point).stdout
    assert str(mounted.base / "more") in listed and len(listed.splitlines()) == 1
    refused(mounted.run("disk", "remove", mounted.point, mounted.base / "more", check=False), 2, "add one first")
    mounted.remount()
    assert (mounted.point / "f").read_bytes() == data
    assert mounted.fsck("--data") == []


def test_a_rolled_back_database_is_noticed(mounted: Mounted) -> None:
    mounted.umount()
    old = {path.name: path.read_bytes() for path in mounted.volume.glob("metadata*")}
    mounted.mount()
    (mounted.point / "new").write_bytes(b"new")
    mounted.seal()
    mounted.umount()
    for path in mounted.volume.glob("metadata.db*"):
        path.unlink()
    for name, data in old.items():
        if name != "metadata.pages":
            (mounted.volume / name).write_bytes(data)
    refused(mount_on(mounted, mounted.point), 4, "not those that were written last", "--restore-metadata")
    (mounted.volume / "metadata.pages").write_bytes(old["metadata.pages"])
    mounted.mount()
    with pytest.raises(OSError) as caught:
        (mounted.point / "more").write_bytes(b"x")
    assert caught.value.errno == errno.EROFS
    assert "rolled back" in mounted.run("status", mounted.point, check=False).stdout


def test_a_full_disk_says_enospc_and_goes_on_after_space_is_freed(tmp_path: Path) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(256 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    mounted = Mounted(tmp_path)
    mounted.volume = disk / "volume"
    draw, written = random.Random(4), {}
    try:
        mounted.format()
        mounted.mount()
        with pytest.raises(OSError) as caught:
            for number in range(400):
                data = draw.randbytes(MIB)
                with open(mounted.point / f"f{number}", "wb", buffering=0) as file:
                    assert file.write(data) == MIB
                written[f"f{number}"] = data
        assert caught.value.errno == errno.ENOSPC
        assert len(written) > 50
        for name, data in written.items():
            assert (mounted.point / name).read_bytes() == data
        half = len(written) // 2
        for name in list(written)[:half]:
            (mounted.point / name).unlink()
            del written[name]
        os.truncate(mounted.point / next(iter(written)), 0)
        written[next(iter(written))] = b""
        mounted.seal()
        mounted.run("collect", mounted.point)
        data = draw.randbytes(8 * MIB)
        (mounted.point / "after").write_bytes(data)
        mounted.seal()
        mounted.remount()
        assert (mounted.point / "after").read_bytes() == data
        for name, data in written.items():
            assert (mounted.point / name).read_bytes() == data
        assert mounted.status()["healthy"]
        mounted.umount()
        assert mounted.fsck("--data") == []
    finally:
        mounted.clean_up()
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_the_cause_of_a_failed_mount_is_the_daemons_own_sentence(mounted: Mounted) -> None:
    mounted.umount()
    (mounted.volume / "config.toml").write_text("[seal]\nquite = '5s'\n")
    refused(mount_on(mounted, mounted.point), 2, "did you mean seal.quiet?")


@pytest.fixture
def frozen(mounted: Mounted) -> Iterator[Path]:
    """The volume after a crash, with hot data, on a file system that is read-only by now."""
    mounted.remount()  # so that there is a snapshot
    (mounted.point / "f").write_bytes(b"hot data")
    mounted.kill()
    place = mounted.base / "frozen"
    place.mkdir()
    subprocess.run(["mount", "--bind", str(mounted.volume), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(mounted.point)], check=False, capture_output=True)
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_volume_on_a_read_only_file_system_is_read_without_fuse(mounted: Mounted, frozen: Path) -> None:
    key = ("--key-file", mounted.key)
    assert mounted.run("cat", frozen, "/f", *key).stdout == "hot data"
    assert mounted.run("fsck", frozen, "--data", *key).stdout == "No findings.\n"
    assert "no damage." in mounted.run("scrub", frozen, *key).stdout
    refused(mounted.run("scrub", frozen, "--repair", *key, check=False), 6, "read-only file system")
    assert "unclean" in mounted.run("status", frozen, *key).stdout
    mounted.run("export", frozen, "/", mounted.base / "out", *key)
    assert (mounted.base / "out" / "f").read_bytes() == b"hot data"
    more = mounted.run("disk", "add", frozen, mounted.base / "more", *key, check=False)
    refused(more, 6, "read-only file system")


def test_a_volume_on_a_read_only_file_system_is_mounted_when_asked(mounted: Mounted, frozen: Path) -> None:
    key = ("--key-file", mounted.key)
    refused(mounted.run("mount", frozen, mounted.point, *key, check=False), 6, "--read-only")
    mounted.run("mount", frozen, mounted.point, "--read-only", *key)
    assert (mounted.point / "f").read_bytes() == b"hot data"
    assert mounted.run("cat", frozen, "/f", *key).stdout == "hot data"
    refused(mounted.run("status", mounted.point, check=False), 5, "read-only file system")
    mounted.umount()
    refused(mounted.run("umount", mounted.point, check=False), 4, "not the mount point")


def test_a_mount_point_may_be_named_by_a_symlink(mounted: Mounted) -> None:
    mounted.umount()
    link = mounted.base / "link"
    link.symlink_to(mounted.point)
    assert mount_on(mounted, link).returncode == 0
    assert "mounted" in mounted.run("status", link).stdout
    mounted.run("umount", link)
    assert os.listdir(mounted.point) == []
    mount_on(mounted, link)
    watch = os.pidfd_open(mounted.pid)
    os.kill(mounted.pid, signal.SIGTERM)
    select.select([watch], [], [], 30)
    os.close(watch)
    assert os.listdir(mounted.point) == []


def test_an_export_to_a_full_disk_says_so(mounted: Mounted) -> None:
    (mounted.point / "f").write_bytes(random.Random(9).randbytes(3 * MIB))
    mounted.umount()
    small = mounted.base / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        done = mounted.run("export", mounted.volume, "/", small / "out", "--key-file", mounted.key, check=False)
        refused(done, 6, str(small / "out"), "No space left")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_disk_inside_a_mount_of_ours_is_refused_before_the_daemon_waits_for_itself(mounted: Mounted) -> None:
    (mounted.point / "disk").mkdir()
    (mounted.base / "link").symlink_to(mounted.point / "disk")
    for path in (mounted.point / "disk", mounted.point / "new", mounted.base / "link"):
        refused(mounted.run("disk", "add", mounted.point, path, check=False), 6, "fuse.rustfsfs")
    assert mounted.status()["healthy"]


def test_one_directory_under_two_names_is_one_disk(tmp_path: Path) -> None:
    one, again = tmp_path / "one", tmp_path / "again"
    one.mkdir()
    again.mkdir()
    base = Mounted(tmp_path)
    subprocess.run(["mount", "--bind", str(one), str(again)], check=True)
    try:
        done = base.run("format", base.volume, "--key-file", base.key, "--disk", one, "--disk", again, check=False)
        refused(done, 2, "already")
    finally:
        subprocess.run(["umount", str(again)], check=True)
    assert os.listdir(one) == []


def test_a_volume_on_an_overlay_is_refused_before_it_is_made(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged", "mnt"):
        (tmp_path / name).mkdir()
    folders = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    done = subprocess.run(["mount", "-t", "overlay", "none", "-o", folders, str(tmp_path / "merged")], check=False)
    if done.returncode:
        pytest.skip("this kernel mounts no overlay here")
    base = Mounted(tmp_path)
    try:
        merged = tmp_path / "merged"
        refused(base.run("format", merged / "v", "--key-file", base.key, check=False), 6, "overlay")
        assert os.listdir(merged) == []
    finally:
        subprocess.run(["umount", str(tmp_path / "merged")], check=True)


def test_a_mount_point_inside_a_disk_is_refused(tmp_path: Path) -> None:
    base, disk = Mounted(tmp_path), tmp_path / "disk"
    base.format("--disk", disk)
    (disk / "mnt").mkdir()
    refused(mount_on(base, disk / "mnt"), 2, str(disk))
    refused(mount_on(base, base.volume / "journal"), 2, str(base.volume))


def dead(mounted: Mounted) -> None:
    """SIGKILL the daemon, and leave its mount where it is."""
    watch = os.pidfd_open(mounted.pid)
    os.kill(mounted.pid, signal.SIGKILL)
    select.select([watch], [], [], 30)
    os.close(watch)


def test_a_dead_mount_stands_for_its_volume(mounted: Mounted) -> None:
    (mounted.point / "f").write_bytes(b"there")
    dead(mounted)
    shown = mounted.run("status", mounted.point, "--key-file", mounted.key).stdout
    assert "unclean" in shown and "rustfsfs mount" in shown
    assert mounted.run("cat", mounted.point, "/f", "--key-file", mounted.key).stdout == "there"
    refused(mounted.run("seal", mounted.point, check=False), 4, "mount it first")
    mounted.run("umount", mounted.point)


def test_a_volume_still_used_after_a_lazy_unmount_says_so(mounted: Mounted) -> None:
    with open(mounted.point / "open", "w") as file:
        pid = mounted.pid
        mounted.run("umount", "--lazy", mounted.point)
        refused(mount_on(mounted, mounted.point), 5, "lazy unmount", str(pid))
        watch = os.pidfd_open(pid)
        file.write("x")
    select.select([watch], [], [], 30)
    os.close(watch)


@pytest.mark.parametrize("name", ["back\\slash", "com,ma", "both\\,\\", "sp ace\ttab"])
def test_a_volume_with_an_odd_name_is_found_by_its_mount_point(tmp_path: Path, name: str) -> None:
    mounted = Mounted(tmp_path)
    mounted.volume = tmp_path / name
    mounted.format()
    try:
        mounted.mount("-o", "ro, noatime")
        assert mounted.status()["volume"]["path"] == str(mounted.volume)
        mounted.umount()
        assert mounted.fsck() == []
    finally:
        mounted.clean_up()


def test_a_mount_that_can_only_be_read_says_so_and_what_helps(mounted: Mounted) -> None:
    mounted.umount()
    old = {path.name: path.read_bytes() for path in mounted.volume.glob("metadata*")}
    mounted.mount()
    (mounted.point / "new").write_bytes(b"new")
    mounted.seal()
    mounted.umount()
    for path in mounted.volume.glob("metadata*"):
        path.unlink()
    for name, data in old.items():
        (mounted.volume / name).write_bytes(data)
    key = ("--key-file", mounted.key)
    done = mount_on(mounted, mounted.point)
    assert done.returncode == 0
    assert "rolled back" in done.stderr and "fsck" in done.stderr and "--restore-metadata" in done.stderr
    refused(mounted.run("seal", mounted.point, check=False), 6, "rolled back")
    assert any("--restore-metadata" in line for line in mounted.fsck())
    mounted.umount()
    assert any("--restore-metadata" in line for line in mounted.fsck())
    assert "read-only: the metadata was rolled back" in mounted.run("status", mounted.volume, *key, check=False).stdout
    assert "epoch" in mounted.run("fsck", mounted.volume, "--restore-metadata", *key).stdout
    assert mount_on(mounted, mounted.point).stderr == ""
    assert (mounted.point / "new").read_bytes() == b"new"


def test_a_mount_that_nobody_waits_for_is_given_up(mounted: Mounted) -> None:
    mounted.umount()
    script = (
        "import socket, sys; from rustfsfs.cli.mount import Teller; from rustfsfs.cli.secrets import read_secret;"
        "from rustfsfs.mount import MountOptions, serve; from rustfsfs.world import real_world;"
        "ours, theirs = socket.socketpair(); ours.close();"
        "serve(real_world(), MountOptions(volume=sys.argv[1], mount_point=sys.argv[2], foreground=False,"
        " read_only=False, config_path=None, options=frozenset(), degraded=False, skip_seq=None),"
        " read_secret(None, sys.argv[3], None), Teller(theirs).ready)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, mounted.volume, mounted.point, mounted.key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.splitlines()[-1].endswith("NobodyWaits: nobody waits for the mount any more; it is given up")
    assert "Group" not in done.stderr
    assert os.listdir(mounted.point) == [] and not os.path.ismount(mounted.point)
    assert "clean" in mounted.run("status", mounted.volume, "--key-file", mounted.key).stdout


def test_an_interrupted_mount_leaves_nothing_mounted(mounted: Mounted) -> None:
    mounted.umount()
    named = (str(path) for path in (mounted.volume, mounted.point, "--key-file", mounted.key))
    command = [sys.executable, "-m", "rustfsfs", "mount", *named]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (mounted.volume / "lock").read_bytes():  # the daemon has begun, and is not ready yet
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    if process.returncode == 0:
        assert os.path.ismount(mounted.point)
        return
    assert (process.returncode, said.strip()) == (130, "rustfsfs: interrupted")
    mounted_since = subprocess.run(["flock", mounted.volume / "lock", "mountpoint", "-q", mounted.point], check=False)
    assert mounted_since.returncode != 0
    assert not any("Traceback" in log.read_text() for log in mounted.volume.glob("rustfsfs.log"))


def test_an_unmount_without_a_tool_says_which(mounted: Mounted) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rustfsfs", "umount", str(mounted.point)],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": "/nowhere"},
        check=False,
    )
    refused(done, 6, "umount is not on the PATH")


def test_a_mount_of_another_user_is_named_as_such(mounted: Mounted) -> None:
    script = (
        "import os, sys\nfrom rustfsfs.cli import places\nfrom rustfsfs.errors import MachineTrouble\n"
        "os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        places.find(path)\n"
        "    except MachineTrouble as exc:\n        print(exc)\n"
    )
    with tempfile.TemporaryDirectory() as shut:
        done = subprocess.run(
            [sys.executable, "-c", script, mounted.point, shut], capture_output=True, text=True, check=True
        )
    first, second = done.stdout.splitlines()
    assert first == f"{mounted.point} was mounted by the user root; only that user and root can do this"
    assert second == f"{shut} cannot be read (Permission denied)"


def test_format_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    base = Mounted(tmp_path)
    for size in ("16k", "48k", "80k"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(small)], check=True)
        try:
            done = base.run("format", small / "v", "--key-file", base.key, check=False)
            assert done.returncode == 6, (size, done)
            assert os.listdir(small) == []
        finally:
            subprocess.run(["umount", str(small)], check=True)
