"""`rustfsfs scrub`, mounted and not, as a person sees it; and the same done by the background."""

import random
from functools import partial
from pathlib import Path

import pytest
import trio

from rustfsfs.cli.main import run
from rustfsfs.config import Config, Scrub, parse_config
from rustfsfs.tasks import scrubber
from rustfsfs.units import MIB, SECOND_NS
from tests.mounted import Mounted
from tests.volume.in_memory import InMemory, new_file, new_volume, put
from tests.volume.on_disk import Key, format_in

DATA = random.Random(3).randbytes(400_000)


def rot(disk: Path) -> None:
    """A bit in the first frame of every pack."""
    for pack in disk.glob("packs/*/*.pack"):
        data = bytearray(pack.read_bytes())
        data[500] ^= 1
        pack.write_bytes(data)


@pytest.mark.fuse
def test_damage_is_found_and_mended_on_a_mount(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.format("--disk", tmp_path / "one", "--disk", tmp_path / "two", "--copies", "2")
    mounted.mount()
    try:
        (mounted.point / "file").write_bytes(DATA)
        mounted.seal()
        done = mounted.run("scrub", mounted.point)
        assert "no damage." in done.stdout and "0 B of frames" not in done.stdout
        rot(tmp_path / "one")
        done = mounted.run("scrub", mounted.point, "--limit", "100MiB", check=False)
        assert done.returncode == 7 and "its other copy is good, scrub --repair mends it" in done.stdout
        assert "1 found, 0 repaired, 1 left." in done.stdout
        shown = mounted.run("status", mounted.point, check=False).stdout
        assert "1 damaged, 0 of them repaired" in shown and not mounted.status()["healthy"]
        done = mounted.run("scrub", mounted.point, "--repair")
        assert "1 found, 1 repaired, 0 left." in done.stdout
        assert mounted.status()["healthy"]
        mounted.remount()
        assert (mounted.point / "file").read_bytes() == DATA
        assert "no damage." in mounted.run("scrub", mounted.point).stdout
    finally:
        mounted.clean_up()


@pytest.mark.fuse
def test_what_has_no_other_copy_is_named(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.format()
    mounted.mount()
    try:
        (mounted.point / "file").write_bytes(DATA)
        mounted.seal()
        mounted.umount()
        rot(mounted.volume)
        for _ in range(2):
            done = mounted.run("scrub", mounted.volume, "--key-file", mounted.key, "--repair", check=False)
            assert done.returncode == 7 and done.stdout.count(": /file\n") == 1, done.stdout
        mounted.mount()
        assert "1 chunk is damaged" in mounted.run("status", mounted.point, check=False).stdout
        with pytest.raises(OSError, match="Input/output"):
            (mounted.point / "file").read_bytes()
        (mounted.point / "again").write_bytes(DATA)
        mounted.seal()
        assert (mounted.point / "file").read_bytes() == DATA, "the same content heals"
        assert mounted.run("scrub", mounted.point, "--repair", check=False).returncode in (0, 7)
        assert mounted.status()["damaged_chunks"] == 0
    finally:
        mounted.clean_up()


def test_mistakes_are_told(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.format()
    for arguments, code, word in (
        (["--limit", "fast"], 2, "no size"),
        (["--limit", "0B"], 2, "above 0"),
        (["--nothing"], 2, "No such option"),
    ):
        done = mounted.run("scrub", mounted.volume, "--key-file", mounted.key, *arguments, check=False)
        assert done.returncode == code and word in done.stderr, done.stderr


async def test_the_background_scrubs_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubber, "LOOK_EVERY_S", 0.01)
    home = InMemory(tmp_path, disk_count=2, copies=2)
    config = Config(scrub=Scrub(interval_s=1e-9, rate_bytes_s=64 * MIB))  # the clock of this world hardly moves
    async with home.opened(config=config) as volume:
        await put(volume, new_file(volume, b"f"), 300_000)
        running = volume.metadata.running
        (path,) = {volume.disks[1].pack_path(pack) for pack in volume.disks[1].packs()}  # type: ignore[attr-defined]
        fd = home.files.open(path, write=True)
        home.files.pwrite(fd, b"rot", 500)
        home.files.close(fd)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(scrubber.run_scrubber, volume))
            with trio.fail_after(30):
                while not running.scrub_repaired:
                    await trio.sleep(0.01)
                while running.scrub_repaired:  # and another pass, which finds nothing more
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert (running.scrub_found, running.bad_chunks) == (0, 0)


def test_a_new_volume_is_due_an_interval_later_and_never_when_told_so(tmp_path: Path) -> None:
    async def main(text: str, folder: str) -> tuple[bool, int]:
        (tmp_path / folder).mkdir()
        async with InMemory(tmp_path / folder).opened(config=parse_config(text)) as volume:
            due = scrubber.is_due(volume)
            return due, volume.metadata.running.scrub_ended_ns

    due, since_ns = trio.run(main, "", "default")
    assert (due, since_ns) == (False, 0), "status shows that it never was scrubbed"
    assert trio.run(main, '[scrub]\ninterval = "never"\n', "never") == (False, 0)


async def test_one_that_ended_long_after_now_is_due_again(tmp_path: Path) -> None:
    """The clock was wrong then, and was set right."""
    async with new_volume(tmp_path) as volume:
        for ahead_s, is_due in ((3600, False), (10 * 365 * 86400, True)):
            volume.metadata.running.scrub_ended_ns = volume.world.now_ns() + ahead_s * SECOND_NS
            assert scrubber.is_due(volume) == is_due


def test_what_is_in_the_bucket_only_is_said_not_to_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"findings": [], "found": 0, "repaired": 0, "not_now": 0, "verified_bytes": 0, "cold_bytes": 3 << 30}
    monkeypatch.setattr("rustfsfs.volume.offline.scrub", lambda *_args, **_named: done)
    monkeypatch.setattr("rustfsfs.cli.scrub.read_secret", lambda *_args, **_named: Key())
    assert run(["scrub", str(format_in(tmp_path / "v"))]) == 0
    assert "3.0 GiB in the bucket were not looked at: fsck --data reads them." in capsys.readouterr().out
