"""make test-faults: every call to a disk fails, one run for each; then random faults on mounts, and full packs' disks.

In turns: two hundred runs of `tests/volume/faulty.py`, where the list of every call, failing in every way, goes on from
run to run; one walk of random operations on a mount whose disk fails again and again; now and then a mount whose packs'
disk is full while its journal is at its limit. What was acknowledged is there all the time. As root.
"""

import contextlib
import errno
import logging
import os
import random
import tempfile
import time
from pathlib import Path

import pytest
import trio

from rustfsfs.service.client import CallFailed
from tests.daemon import FaultyMount
from tests.faults import SHORT, Fault
from tests.long.results import Suite, run
from tests.mounted import Mounted, small_disk
from tests.volume.faulty import FaultyVolume, Run, every_fault

CALLS_AT_ONCE = 200
STEPS_PER_WALK = 400
FAULTS_PER_WALK = 25
FULL_EVERY = 5  # cycles
GOES_ON_S_MAX = 120.0  # after space was freed
SIZES = [1, 4000, 60_000]  # one request, so one op, each
REFUSALS = (errno.EIO, errno.ENOSPC, errno.EROFS)
WAYS = [
    *[("pwrite", word, how) for word in ("/journal/", "/packs/", "/snapshots/") for how in ("EIO", "ENOSPC", SHORT)],
    *[("sync", word, "EIO") for word in ("/journal/", "/packs/", "/snapshots/", "rustfsfs-disk")],
    *[("create", word, how) for word in ("/journal/", "/packs/", "/snapshots/") for how in ("EIO", "ENOSPC")],
    *[("sync_dir", word, "EIO") for word in ("/journal", "/packs")],
    *[("unlink", word, "EIO") for word in ("/journal/", "/packs/", "/snapshots/")],
    *[("xWrite", "metadata.db", how) for how in ("EIO", "ENOSPC")],
    *[("xWrite", "metadata.copy", how) for how in ("EIO", "ENOSPC")],
    *[(action, "metadata.db", "EIO") for action in ("xSync", "xTruncate", "xRead")],
]


def calls(suite: Suite, folder: Path) -> None:
    """The next so many of every call, failing in every way, before and without a kill, and at opening."""
    home = FaultyVolume(folder)
    well, opening = Run(home), Run(home)
    trio.run(lambda: well.tell(killed=False))
    trio.run(opening.open_again)
    faults = every_fault(well.calls)
    todo = [(fault, how) for fault in faults for how in ("closed", "killed")]
    todo += [(fault, "opening") for fault in every_fault(opening.calls)]
    random.Random(0).shuffle(todo)
    first = suite.state.get("next", 0) % len(todo)
    for fault, how in todo[first : first + CALLS_AT_ONCE]:
        told = Run(home)
        try:
            trio.run(one_call, told, fault, how)
        except BaseException as exc:
            raise AssertionError(f"{fault}, {how}: {exc!r}") from exc
        suite.state["next"] = suite.state.get("next", 0) + 1
        suite.count(calls=1, read_only=int(told.read_only is not None))
        if not suite.has_time:
            return


async def one_call(told: Run, fault: Fault, how: str) -> None:
    if how == "opening":
        await told.open_again(fault)
    else:
        await told.tell(fault, killed=how == "killed")


LOST = "replaying the journal failed"  # what was acknowledged cannot be told any more (`recording.restore`)


class Walk:
    """Random operations, one after the other; `files` is what was acknowledged, `durable` what fsync was told of."""

    def __init__(self, mounted: FaultyMount, seed: int) -> None:
        self.mounted = mounted
        self.draw = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.made = 0
        self.failures = 0
        self.read_only = 0

    def go(self) -> None:
        for _ in range(STEPS_PER_WALK):
            if self.draw.random() < FAULTS_PER_WALK / STEPS_PER_WALK:
                self._plan()
            try:
                self._step()
            except OSError as exc:
                assert exc.errno in REFUSALS, exc
                self._check()
            except CallFailed:
                self._check()
            if self.draw.random() < 0.05:
                self._check()
            if self.mounted.call("status")["volume"]["read_only"]:
                self.read_only += 1
                self._next_life()
        self._next_life()

    def _plan(self) -> None:
        action, word, how = self.draw.choice(WAYS)
        skip, count = self.draw.choice([0, 0, 1, 3, 10]), self.draw.choice([1, 1, 1, 2, 5])
        self.mounted.plan(Fault(action=action, word=word, how=how, skip=skip, count=count))

    def _step(self) -> None:
        """One operation; it raises, and then nothing happened."""
        point, kind = self.mounted.point, self.draw.randrange(10)
        if kind < 3 or not self.files:
            name, self.made = f"f{self.made}", self.made + 1
            os.close(os.open(point / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            self.files[name] = b""
            return
        name = self.draw.choice(sorted(self.files))
        data = self.files[name]
        if kind < 6:
            new, offset = self.draw.randbytes(self.draw.choice(SIZES)), self.draw.randrange(len(data) + 1)
            with open(point / name, "r+b", buffering=0) as file:
                done = os.pwrite(file.fileno(), new, offset)  # of several requests a later one may have failed
                self.files[name] = data[:offset] + new[:done] + data[offset + done :]
                if kind == 5:
                    os.fsync(file.fileno())
        elif kind == 6:
            size = self.draw.randrange(len(data) + 1)
            os.truncate(point / name, size)
            self.files[name] = data[:size]
        elif kind == 7:
            (point / name).unlink()
            del self.files[name]
        elif kind == 8:
            self.made += 1
            (point / name).rename(point / f"r{self.made}")
            self.files[f"r{self.made}"] = self.files.pop(name)
        else:
            self.mounted.call(self.draw.choice(["seal", "seal", "collect"]))

    def _check(self) -> None:
        self.mounted.plan()
        if LOST in (self.mounted.call("status")["volume"]["read_only"] or ""):
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):  # no answer rather than a wrong one
                os.listdir(self.mounted.point)
            return  # the next life has it all
        found = set(os.listdir(self.mounted.point))
        assert found == set(self.files), (found ^ set(self.files), self._failed())
        for name, data in self.files.items():
            assert (self.mounted.point / name).read_bytes() == data, (name, self._failed())

    def _failed(self) -> list[str]:
        return self.mounted.failed(0)[-5:]

    def _next_life(self) -> None:
        """By a kill or an end in order; nothing acknowledged is lost by either."""
        self._check()
        self.failures += len(self.mounted.failed(0))
        if self.draw.random() < 0.5:
            self.mounted.kill()
        else:
            self.mounted.run("umount", self.mounted.point, check=False)
        self.mounted.mount()
        assert self.mounted.call("status")["healthy"]
        self._check()


def walk(suite: Suite, folder: Path, seed: int) -> None:
    mounted = FaultyMount(folder)
    mounted.format()
    mounted.mount()
    try:
        told = Walk(mounted, seed)
        told.go()
        mounted.umount()
        findings = mounted.fsck("--data")
        assert findings == [], findings[:5]
        suite.count(walks=1, failures=told.failures, read_only=told.read_only)
    finally:
        mounted.clean_up()


def full(suite: Suite, folder: Path, seed: int) -> None:
    """The packs take nothing more, so the journal, of 40 MiB, fills with what is written over and over.

    First their disk only says that it is full, or there would be ENOSPC long before; then somebody else fills it.
    """
    draw = random.Random(seed)
    for name in ("one", "other"):
        (folder / name).mkdir()
    with small_disk(folder / "one", size_mib=160) as disk, small_disk(folder / "other", size_mib=96) as packs:
        mounted = FaultyMount(folder)
        mounted.volume = disk / "volume"
        mounted.format("--disk", packs / "disk")
        mounted.mount()
        try:
            files = {f"f{number}": draw.randbytes(1 << 20) for number in range(10)}
            for name, data in files.items():
                put(mounted.point / name, data)
            mounted.plan(
                *(Fault(action=name, word="/disk/packs/", how="ENOSPC", count=1 << 30) for name in ("create", "pwrite"))
            )
            until_full(mounted, files, draw)
            journal = mounted.call("status")["journal"]
            assert journal["bytes"] >= journal["bytes_max"], journal
            with contextlib.suppress(OSError), open(packs / "somebody's", "wb", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass
            mounted.plan()
            until_full(mounted, files, draw)
            check(mounted, files)
            for name in list(files)[:5]:
                (mounted.point / name).unlink()
                del files[name]
            (packs / "somebody's").unlink()
            goes_on(mounted, files, draw)
            check(mounted, files)
            assert mounted.status()["volume"]["read_only"] is None
            mounted.remount()
            check(mounted, files)
            mounted.umount()
            assert mounted.fsck("--data") == []
            suite.count(full=1)
        finally:
            mounted.clean_up()


def put(path: Path, data: bytes) -> None:
    with open(path, "r+b" if path.exists() else "xb", buffering=0) as file:
        assert file.write(data) == len(data)
        os.fsync(file.fileno())


def overwrite(mounted: Mounted, files: dict[str, bytes], draw: random.Random) -> None:
    """One request's worth. Raises OSError: nothing happened."""
    name, new = draw.choice(sorted(files)), draw.randbytes(1 << 16)
    offset = draw.randrange(len(files[name]) - len(new))
    with open(mounted.point / name, "r+b", buffering=0) as file:
        assert os.pwrite(file.fileno(), new, offset) == len(new)
    files[name] = files[name][:offset] + new + files[name][offset + len(new) :]


def until_full(mounted: Mounted, files: dict[str, bytes], draw: random.Random) -> None:
    for _ in range(10_000):
        try:
            overwrite(mounted, files, draw)
        except OSError as exc:
            assert exc.errno == errno.ENOSPC, exc
            return
    raise AssertionError("it never got full")


def goes_on(mounted: Mounted, files: dict[str, bytes], draw: random.Random) -> None:
    deadline_s = time.monotonic() + GOES_ON_S_MAX
    done = 0
    while done < 50:
        try:
            overwrite(mounted, files, draw)
            done += 1
        except OSError as exc:
            assert exc.errno == errno.ENOSPC, exc
            assert time.monotonic() < deadline_s, f"no room {GOES_ON_S_MAX} s after half was deleted"
            time.sleep(0.5)


def check(mounted: Mounted, files: dict[str, bytes]) -> None:
    assert set(os.listdir(mounted.point)) == set(files)
    for name, data in files.items():
        assert (mounted.point / name).read_bytes() == data, name


def work(suite: Suite) -> None:
    logging.getLogger("rustfsfs").disabled = True  # each of thousands of failures would be told
    cycle = 0
    while suite.has_time:
        seed = suite.seed * 1000 + cycle
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("calls", "walk", "full"):
                (folder / part).mkdir()
            walk(suite, folder / "walk", seed)
            if cycle % FULL_EVERY == 0:
                full(suite, folder / "full", seed)
            if suite.has_time:
                calls(suite, folder / "calls")
        cycle += 1


if __name__ == "__main__":
    run(Suite("faults", minutes=30), work, needs="calls")
