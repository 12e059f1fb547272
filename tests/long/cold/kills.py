"""4b. SIGKILL at each step of the mover: no pack is lost or doubled, and what it leaves in the bucket is collected.

The server holds the nth request of a kind, executed or not, and the daemon is killed while it waits for the answer. So
every step is met from both sides: before the bucket has it, and before the volume knows that the bucket has it.
"""

import contextlib
import itertools
import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from rustfsfs.errors import OpeningError
from rustfsfs.store.cold import PACKS, parse_pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.units import MIB
from rustfsfs.volume.volume import Volume
from tests.long.cold.place import PREFIX, ColdVolume, cold_volume, folder, wait_until
from tests.oss_server import Clock, Fault, Hang, OssServer, serving
from tests.volume.on_disk import change

FILES, FILE_SIZE = 16, 4 * MIB  # before each kill: two packs or more
MET_S_MAX = 60.0
SWEPT_S_MAX = 150.0  # the mover looks a minute after the mount
OLD_S = 2 * 3600.0  # so old the bucket says everything is: it has to be an hour before it can be nobody's
CONFIG = """
[seal]
quiet = "1s"
[protect]
enabled = false
[cache]
disk = "64MiB"
[cold]
read_deadline = "5s"
"""


@dataclass(frozen=True)
class Step:
    """The daemon waits for the answer to such a request, the one after `skip`, while it does some work."""

    work: str
    operation: str
    key: str
    executed: bool
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.work}, {self.operation} no. {self.skip + 1}, {'' if self.executed else 'not '}executed"


STEPS = [
    Step(work, operation, key, executed, skip)
    for work, operation, key, skips in (
        ("demote", "PutObject", "*/packs/*", (0, 1)),
        ("demote", "HeadObject", "*/packs/*", (0, 1)),
        ("publish", "PutObject", "*/meta/*", (0, 1)),
        ("publish", "ListObjects", "*", (0, 1)),
        ("publish", "DeleteMultipleObjects", "*", (0,)),
        ("recall", "GetObject", "*/packs/*", (0, 3)),
        ("collect", "DeleteMultipleObjects", "*", (0, 1)),
        ("leave over", "PutObject", "*/packs/*", (0,)),
    )
    for skip, executed in itertools.product(skips, (False, True))
    if executed or work != "leave over"
]


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(FILE_SIZE)


class Life:
    """A volume, what is in it, and the end of its daemon again and again."""

    def __init__(self, volume: ColdVolume, oss: OssServer) -> None:
        self.volume, self.oss = volume, oss
        self.files: set[int] = set()
        self.next = 0
        self.killed = False

    def write(self, count: int = FILES) -> list[int]:
        made = list(range(self.next, self.next + count))
        self.next += count
        for number in made:
            (self.volume.point / f"f{number}").write_bytes(data_of(number))
        self.files.update(made)
        self.volume.call("seal")
        return made

    def remove(self, numbers: Iterable[int]) -> None:
        for number in list(numbers):
            (self.volume.point / f"f{number}").unlink()
            self.files.discard(number)

    def check(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            assert (self.volume.point / f"f{number}").read_bytes() == data_of(number), f"f{number} reads wrong"

    def strike(self, step: Step) -> None:
        """One kill, and what has to be so after it."""
        fresh, self.killed = self.write(), False
        if step.work == "recall":
            self.volume.demote()
        if step.work == "collect":
            self.volume.demote()
            self.remove(fresh[1:])
        self.oss.faults.plan(
            Fault(effect=Hang(step.executed), operation=step.operation, key=step.key, skip=step.skip, count=None)
        )
        worker = threading.Thread(target=self._work, args=(step.work,), daemon=True)
        worker.start()
        try:
            wait_until(lambda: self.oss.hanging > 0, within_s=MET_S_MAX, otherwise="no such request came")
            self.killed = True
            self.volume.kill()
        finally:
            self.oss.faults.plan()
            self.oss.release()
            worker.join()
        self.volume.mount()
        self.check(self.files.intersection(fresh))
        if step.work == "leave over":  # the bucket has a pack of which no record tells, and that nobody needs
            self.remove(fresh)
            self.volume.call("collect")
        else:
            self.volume.demote()
            self.check(self.files.intersection(fresh[:2]))

    def _work(self, work: str) -> None:
        """Until the daemon is killed."""
        with contextlib.suppress(OpeningError, AssertionError, OSError):
            match work:
                case "demote" | "leave over":
                    self.volume.call("tier_demote", paths=[])
                case "recall":
                    self.volume.call("tier_recall", paths=[])
                case "publish":
                    self._publish_often()
                case "collect":
                    self.volume.call("collect")
                    self._publish_often()

    def _publish_often(self) -> None:
        """Copies of the metadata, until no old one is left."""
        for _ in range(6):
            (self.volume.point / "changed").write_bytes(b"again")
            self.volume.umount()
            if self.killed:
                return
            self.volume.mount()

    def in_bucket(self) -> set[PackKey]:
        with self.oss.store.lock:
            keys = list(self.oss.store.bucket("packs").keys_from(f"{PREFIX}/{PACKS}"))
            found = [
                parse_pack_key(key.removeprefix(f"{PREFIX}/")) for key in keys if key.startswith(f"{PREFIX}/{PACKS}")
            ]
        assert None not in found, keys
        return {one for one in found if one is not None}

    def recorded(self) -> set[PackKey]:
        """What the volume says the bucket has, or is to lose; while it is not mounted."""
        rows = set[PackKey]()

        async def look(volume: Volume) -> None:
            for table in ("objects", "doomed_objects"):
                rows.update((pack, disk) for pack, disk in volume.metadata.rows(f"SELECT pack, disk FROM {table}"))

        change(self.volume.volume, look)
        return rows


def check(scale: float) -> str:
    steps = STEPS[:: max(1, round(1 / scale))]
    if not any(step.work == "leave over" for step in steps):
        steps.append(STEPS[-1])
    with (
        folder(need_bytes=len(steps) * 150 * MIB) as base,
        serving(base / "oss", clock=Clock(_ahead_s=-OLD_S)) as oss,
        cold_volume(base, oss, config=CONFIG) as volume,
    ):
        life = Life(volume, oss)
        for step in steps:
            try:
                life.strike(step)
            except (AssertionError, OSError, OpeningError) as exc:
                raise AssertionError(f"{step}: {exc}") from exc
        left_over = life.in_bucket()
        volume.umount()
        recorded = life.recorded()
        assert recorded <= left_over, f"lost: {recorded - left_over}"
        extra = left_over - recorded
        assert extra, "the suite left nothing over: it proves nothing about collecting it"
        volume.mount()
        volume.kill()  # so that the next life looks soon
        volume.mount()
        swept_s = wait_until(
            lambda: not extra & life.in_bucket(), within_s=SWEPT_S_MAX, otherwise="leftovers were not collected"
        )
        volume.forget()
        life.check(life.files)
        volume.umount()
        findings = volume.fsck("--data")
        assert findings == [], findings[:5]
        assert life.recorded() == life.in_bucket(), "the bucket has other packs than the volume says"
    return (
        f"{len(steps)} kills, each at another request; {len(life.files)} files whole, no pack lost or doubled,"
        f" {len(extra)} left over and gone {swept_s:.0f} s after a mount"
    )
