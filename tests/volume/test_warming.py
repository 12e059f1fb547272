"""What a request reads on the loop was read by a worker before, when the kernel may not have it in memory."""

import inspect
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
import trio

from rustfsfs.config import Config
from rustfsfs.fuse.ops import Operations
from rustfsfs.meta.touching import TOUCHES
from rustfsfs.tasks.warmth import LOOK_EVERY_S, run_warmth
from rustfsfs.units import ROOT
from rustfsfs.volume import (
    attributes,
    collecting,
    commands,
    epochs,
    handles,
    listing,
    names,
    reading,
    reaping,
    sealing,
    warming,
    windows,
    writing,
    xattrs,
)
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.volume.on_disk import DIRECTORY, FILE, Key, change, format_in, write_file

PAGE = 4096
DIRECTORIES, FILES = 20, 60
NEEDS_NO_PAGE = {
    "statfs",
    "flush",
    "release",
    "fsync",
    "releasedir",
    "fsyncdir",
    "forget",
    "init",
    "stacktrace",
    "access",
}


class ReadsVfs(apsw.VFS):
    """Notes which pages of the database file are read."""

    def __init__(self) -> None:
        super().__init__("reads", "unix")
        self.pages: set[int] = set()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return ReadsFile(self, name, flags)


class ReadsFile(apsw.VFSFile):
    def __init__(self, vfs: ReadsVfs, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name if name is not None else "", flags)
        self._pages = vfs.pages if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else set[int]()

    def xRead(self, amount: int, offset: int) -> bytes:
        self._pages.add(offset // PAGE)
        return super().xRead(amount, offset)


VFS = ReadsVfs()
SEALED = "multipleciphers-reads"


@pytest.fixture(scope="module")
def volume_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More names than one page of any index holds; every file has a sealed page of its own."""
    path = format_in(tmp_path_factory.mktemp("warm") / "v")

    async def fill(volume: Volume) -> None:
        for number in range(DIRECTORIES):
            parent = names.create(volume, ROOT, b"dir%d" % number, mode=DIRECTORY, uid=0, gid=0).inode
            for other in range(FILES):
                await write_file(volume, b"file%d" % other, os.urandom(100), parent=parent)
            await write_file(volume, b"large", os.urandom(200_000), parent=parent)
        await commands.seal(volume, {}, no_progress)

    change(path, fill)
    return path


class Case(NamedTuple):
    arguments: tuple[Any, ...]  # as the request has them
    work: Callable[[Volume], object]


class Size(NamedTuple):
    st_size: int


class Fields(NamedTuple):
    update_size: bool


def cases(parent: int, file: int, large: int) -> dict[str, Case]:
    return {
        "lookup": Case((parent, b"file7"), lambda v: names.lookup(v, parent, b"file7")),
        "create": Case((parent, b"new"), lambda v: names.create(v, parent, b"new", mode=FILE, uid=0, gid=0)),
        "link": Case((file, parent, b"new"), lambda v: names.link(v, file, parent, b"new")),
        "unlink": Case((parent, b"file7"), lambda v: names.unlink(v, parent, b"file7")),
        "rename": Case(
            (parent, b"file7", parent, b"large"),
            lambda v: names.rename(v, parent, b"file7", parent, b"large", exchange=False, no_replace=False),
        ),
        "getattr": Case((file,), lambda v: attributes.get(v, file)),
        "setattr": Case((large, Size(1000), Fields(True)), lambda v: writing.resize(v, large, 1000)),
        "open": Case((large, os.O_TRUNC), lambda v: writing.resize(v, large, 0)),
        "getxattr": Case((file, b"user.a"), lambda v: xattrs.names(v, file, privileged=True)),
        "setxattr": Case((file,), lambda v: attributes.change(v, file, mode=0o600)),
        "opendir": Case((parent,), lambda v: handles.opened(v, parent)),
        "readdir": Case((parent, 0), lambda v: listing.page(v, parent, 0, 100)),
        "read": Case((large, 100_000, 100), lambda v: reading.read(v, large, 100_000, 100)),
        "write": Case((large, 100_000, b"x"), lambda v: writing.write(v, large, 100_000, b"x")),
    }


@pytest.mark.parametrize("asked", list(cases(0, 0, 0)))
def test_a_worker_reads_all_that_the_loop_will_need(volume_path: Path, tmp_path: Path, asked: str) -> None:
    """Cut off from every cache, the scout reads at least the pages that the writing connection then reads."""
    scouted, read = set[int](), set[int]()
    path = tmp_path / "v"
    shutil.copytree(volume_path, path)
    apsw.Connection(str(tmp_path / "any"), vfs=SEALED).close()  # the cipher makes its layer when it is first used

    async def main() -> None:
        how = Opening(path=str(path), secret=Key(), config=Config())
        async with opened_volume(replace(real_world(), sqlite_vfs=SEALED), how) as volume:
            parent = names.lookup(volume, ROOT, b"dir7").inode
            file, large = (names.lookup(volume, parent, name).inode for name in (b"file7", b"large"))
            case = cases(parent, file, large)[asked]
            await write_file(volume, b"new", b"new")  # the ends of the tables are always in memory
            volume.metadata.run("PRAGMA shrink_memory")
            VFS.pages.clear()
            await warming.warm(volume, asked, case.arguments)
            scouted.update(VFS.pages)
            VFS.pages.clear()
            result = case.work(volume)
            if isinstance(result, Awaitable):
                await result
            read.update(VFS.pages)

    trio.run(main)
    (path / "ballast").unlink()
    assert len(scouted) > 2
    assert read <= scouted, sorted(read - scouted)


async def forget(volume: Volume) -> None:
    """Every page of the database leaves the kernel's memory."""
    await epochs.commit(volume)
    fd = volume.world.files.open(f"{volume.path}/metadata.db")
    volume.world.files.sync(fd)
    volume.world.files.forget_pages(fd)
    volume.world.files.close(fd)


def test_a_cold_database_is_noticed_and_read_back(tmp_path: Path) -> None:
    found: list[bool] = []

    async def work(volume: Volume) -> None:
        await warming.look(volume)
        found.append(volume.warmth.is_cold)
        await forget(volume)
        await warming.look(volume)
        found.append(volume.warmth.is_cold)
        with trio.fail_after(10):
            while volume.warmth.is_cold:
                await trio.sleep(0.01)
                await warming.look(volume)

    change(format_in(tmp_path / "v"), work)
    assert found == [False, True]


def test_pages_that_were_dropped_are_back_long_before_the_next_look_is_due(tmp_path: Path) -> None:
    seen: list[bool] = []

    async def work(volume: Volume) -> None:
        await forget(volume)
        with trio.fail_after(LOOK_EVERY_S / 2):
            async with trio.open_nursery() as nursery:
                await nursery.start(run_warmth, volume)
                while seen != [False, True, False]:
                    if not seen or seen[-1] != volume.warmth.is_cold:
                        seen.append(volume.warmth.is_cold)
                    await trio.sleep(0.002)
                nursery.cancel_scope.cancel()

    change(format_in(tmp_path / "v"), work)
    assert seen == [False, True, False]


def test_what_was_read_a_moment_ago_is_not_read_again(tmp_path: Path) -> None:
    async def work(volume: Volume) -> None:
        inode = await write_file(volume, b"a", b"a")
        await warming.warm(volume, "read", (inode, 5, 10))
        await warming.warm(volume, "getattr", (inode,))
        assert volume.warmth.scouts
        warming.close(volume)
        await warming.warm(volume, "write", (inode, 100, b"x"))
        await warming.warm(volume, "getattr", (inode,))
        assert not volume.warmth.scouts
        await warming.warm(volume, "lookup", (ROOT, b"a"))
        await warming.warm(volume, "read", (inode, 5 << 20, 10))
        assert len(volume.warmth.scouts) == 1

    change(format_in(tmp_path / "v"), work)


def test_what_is_hot_and_what_is_sealed_is_read_by_every_request_for_contents(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(volume: Volume) -> None:
        sealed = await write_file(volume, b"sealed", b"a" * 5000)
        await sealing.seal_forks(volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=_at_once)
        hot = await write_file(volume, b"hot", b"b" * 5000)
        await epochs.commit(volume)  # the scouts see what was committed
        for inode in (sealed, hot):
            await warming.warm(volume, "read", (inode, 0, 10))
            await warming.warm(volume, "write", (inode, 5 << 20, b"x"))
            await warming.warm(volume, "read", (inode, (1 << 63) - 1, 10))
        assert len(volume.warmth.recent) == 6
        for name in (b"sealed", b"hot"):
            await warming.warm(volume, "unlink", (ROOT, name))

    change(format_in(tmp_path / "v"), work)
    assert "bug" not in caplog.text


async def _at_once(_sealed_bytes: int) -> None:
    return


def test_what_goes_wrong_in_reading_ahead_is_logged_and_stops_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(volume: Volume) -> None:
        volume.warmth.is_cold = True
        await warming.warm(volume, "lookup", ())  # it takes arguments
        assert not volume.warmth.is_cold

    change(format_in(tmp_path / "v"), work)
    assert "Traceback" in caplog.text


def test_every_request_that_needs_the_database_is_known() -> None:
    """Nobody can add a handler and forget it."""
    own = {name for name, value in vars(Operations).items() if inspect.iscoroutinefunction(value)}
    assert own - NEEDS_NO_PAGE <= TOUCHES.keys()


def test_the_steps_of_the_background_touch_what_they_free(volume_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "v"
    shutil.copytree(volume_path, path)

    async def work(volume: Volume) -> None:
        parent = names.lookup(volume, ROOT, b"dir3").inode
        for name in (b"file3", b"large"):
            names.unlink(volume, parent, name)
        volume.warmth.is_cold = True
        await reaping.reap(volume)
        assert await collecting.bury(volume) > 0
        assert volume.warmth.scouts

    change(path, work)
