"""make test-full: a small disk is filled again and again; every accepted byte is there, and the volume needs no help.

A loop-mounted ext4 of 400 MiB, now and then with hardly any inodes. Files are written until ENOSPC, some are deleted
or cut short at zero free, then it goes on; in between the daemon is killed, unmounted, or asked to seal. As root.
"""

import errno
import hashlib
import os
import random
import tempfile
import time
from pathlib import Path

from tests.long.results import Suite, run
from tests.mounted import Mounted, small_disk

FILLS = 100
FILLS_PER_DISK = 10
DISK_MIB = 400
GOES_ON_S_MAX = 60.0  # after space was freed
SIZES = [1, 4000, 70_000, 1_000_000, 9_000_000]


class Filler:
    """Fills a mount and knows what it accepted."""

    def __init__(self, mounted: Mounted, seed: int) -> None:
        self.mounted = mounted
        self.draw = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.made = 0
        self.accepted_bytes = 0

    def fill(self) -> None:
        """Until ENOSPC; what a short write took is kept."""
        while True:
            name, data = f"f{self.made}", self.draw.randbytes(self.draw.choice(SIZES))
            self.made += 1
            try:
                self.files[name] = data[: self._write(name, data)]
            except OSError as exc:
                assert exc.errno == errno.ENOSPC, exc
                return
            if len(self.files[name]) < len(data):
                return

    def _write(self, name: str, data: bytes) -> int:
        done = 0
        with open(self.mounted.point / name, "xb", buffering=0) as file:
            self.files[name] = b""
            try:
                while done < len(data):
                    done += file.write(data[done : done + 100_000])
            except OSError as exc:
                assert exc.errno == errno.ENOSPC, exc
            self.accepted_bytes += done
            return done

    def thin(self) -> None:
        """Delete about half, cut some short: all of it has to work at zero free."""
        for name in list(self.files):
            fate = self.draw.random()
            if fate < 0.5:
                (self.mounted.point / name).unlink()
                del self.files[name]
            elif fate < 0.6:
                size = self.draw.randrange(len(self.files[name]) + 1)
                os.truncate(self.mounted.point / name, size)
                self.files[name] = self.files[name][:size]

    def goes_on(self) -> None:
        """After space was freed a write works again, by itself."""
        deadline_s = time.monotonic() + GOES_ON_S_MAX
        while True:
            name, data = f"f{self.made}", self.draw.randbytes(50_000)
            self.made += 1
            try:
                if self._write(name, data) == len(data):
                    self.files[name] = data
                    return
                (self.mounted.point / name).unlink()
                del self.files[name]
            except OSError as exc:
                assert exc.errno == errno.ENOSPC, exc
            assert time.monotonic() < deadline_s, f"no room {GOES_ON_S_MAX} s after half was deleted"
            time.sleep(0.5)

    def check(self) -> None:
        found = set(os.listdir(self.mounted.point))
        assert found == set(self.files), (found ^ set(self.files),)
        for name, data in self.files.items():
            there = (self.mounted.point / name).read_bytes()
            same = hashlib.sha256(there).digest() == hashlib.sha256(data).digest()
            assert same, f"{name}: {len(there)} bytes there, {len(data)} accepted"


def disturb(mounted: Mounted, kind: int) -> None:
    if kind == 0:
        mounted.kill()
        mounted.mount()
    elif kind == 1:
        mounted.run("umount", mounted.point, check=False)  # 6, if the end was in disorder: nothing is lost by that
        mounted.mount()
    elif kind == 2:
        mounted.run("seal", mounted.point, check=False)


def work(suite: Suite) -> None:
    disks = 0
    while suite.has_time and suite.totals.get("fills", 0) < FILLS:
        disks += 1
        seed = suite.seed * 1000 + disks
        with (
            tempfile.TemporaryDirectory() as folder,
            small_disk(Path(folder), size_mib=DISK_MIB, inodes=150 if disks % 3 == 0 else None) as disk,
        ):
            mounted = Mounted(disk)
            mounted.format()
            mounted.mount()
            try:
                fill_again_and_again(suite, Filler(mounted, seed))
            finally:
                mounted.clean_up()


def fill_again_and_again(suite: Suite, filler: Filler) -> None:
    mounted, before = filler.mounted, 0
    for _ in range(FILLS_PER_DISK):
        filler.fill()
        disturb(mounted, filler.draw.randrange(6))
        filler.check()
        filler.thin()
        disturb(mounted, filler.draw.randrange(6))
        filler.goes_on()
        filler.check()
        suite.count(fills=1, accepted_mib=(filler.accepted_bytes - before) >> 20)
        before = filler.accepted_bytes
        if not suite.has_time:
            break
    mounted.run("umount", mounted.point, check=False)
    findings = mounted.fsck("--data")
    assert findings == [], findings[:5]


if __name__ == "__main__":
    run(Suite("full", minutes=45), work, needs="fills")
