"""4a. Every fault of the server's script, while demoting and while reading: nothing wrong is returned, nothing is lost.

A fault that strikes once or twice is not even noticed. One that stays is an error for who reads, and the mount lives;
when it is over everything is read again, without anybody's help. A fault that met no request fails the part.
"""

import contextlib
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from rustfsfs.errors import OpeningError
from rustfsfs.units import MIB
from tests.long.cold.place import ColdVolume, cold_volume, folder, wait_until
from tests.oss_server import (
    Delay,
    Fault,
    FlipReceived,
    FlipSent,
    Hang,
    Headers,
    IgnoreRange,
    OssServer,
    Outage,
    Reset,
    Short,
    Slow,
    Stale,
    Swap,
    When,
    denied,
    missing,
    server_error,
    serving,
    throttling,
)
from tests.oss_server.faults import Effect

READ_DEADLINE_S = 4.0
STRIKES_S = 6.0  # how long a fault that stays strikes who demotes
BACK_S_MAX = 150.0  # the circuit is probed every two minutes at the latest
FILES, FILE_SIZE, READ_SIZE = 4, 3 * MIB, MIB  # for each case
CONFIG = f"""
[cold]
read_deadline = "{READ_DEADLINE_S:g}s"
[cache]
disk = "64MiB"
ram = "16MiB"
[seal]
quiet = "1s"
[protect]
enabled = false
"""
SKEW_S = 3600.0  # of clocks; 15 minutes are refused


@dataclass(frozen=True)
class Case:
    """Something that goes wrong for as long as `wrong` lasts."""

    name: str
    wrong: Callable[[OssServer], contextlib.AbstractContextManager[None]]
    is_masked: bool = False  # who waits gets what he wants


def planned(*faults: Fault) -> Callable[[OssServer], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def wrong(oss: OssServer) -> Iterator[None]:
        oss.faults.plan(*faults)
        try:
            yield
            assert all(oss.faults.met), f"it proved nothing: {oss.faults.met} requests were met"
        finally:
            oss.faults.plan()
            oss.release()

    return wrong


def outage(how: Outage) -> Callable[[OssServer], contextlib.AbstractContextManager[None]]:
    return lambda oss: oss.outage(how)


@contextlib.contextmanager
def skewed(oss: OssServer) -> Iterator[None]:
    oss.clock.skew_s = SKEW_S
    try:
        yield
    finally:
        oss.clock.skew_s = 0.0


@contextlib.contextmanager
def key_taken_away(oss: OssServer) -> Iterator[None]:
    key = oss.keys.pop(oss.key_id)
    try:
        yield
    finally:
        oss.keys[oss.key_id] = key


def both(name: str, fault: Fault, *, masked_once: bool = True) -> list[Case]:
    """It strikes once, and it stays."""
    return [
        Case(f"{name}, once", planned(replace(fault, count=1)), is_masked=masked_once),
        Case(f"{name}, again and again", planned(replace(fault, count=None))),
    ]


EVERYWHERE: dict[str, tuple[Effect, bool]] = {  # name -> what, and is it unnoticed when it strikes once
    "500": (server_error(500), True),
    "502": (server_error(502), True),
    "503": (server_error(503), True),
    "504": (server_error(504), True),
    "500, and yet done": (server_error(500, executed=True), True),
    "throttled": (throttling(), True),
    "throttled for 300 ms": (throttling(300), True),
    "denied": (denied(), False),
    "reset before": (Reset(When.BEFORE), True),
    "reset after": (Reset(When.AFTER), True),
    "no answer": (Hang(), False),
    "done, and no answer": (Hang(executed=True), False),
    "a second late": (Delay(1.0), True),
}
READING: dict[str, tuple[Effect, bool]] = {
    "missing": (missing(), False),
    "reset in mid-body": (Reset(When.DOWNLOADING), True),
    "short body": (Short(100), True),
    "empty body": (Short(1 << 30), True),
    "short body that says so": (Short(100, honest=True), True),
    "empty body that says so": (Short(1 << 30, honest=True), True),
    "the first bit flipped": (FlipSent(0), True),
    "a bit in the middle flipped": (FlipSent(80_001), True),
    "the last bit flipped": (FlipSent(-1), True),
    "stale": (Stale(), False),
    "range ignored": (IgnoreRange(), True),
    "50 KB/s": (Slow(50_000), False),
    "no Content-Range": (Headers((("Content-Range", None),)), True),
    "another Content-Range": (Headers((("Content-Range", "bytes 0-9/10"),)), True),
    "no Content-Length": (Headers((("Content-Length", None),)), False),
    "another CRC-64": (Headers((("x-oss-hash-crc64ecma", "1"),)), True),
}
DEMOTING: dict[str, tuple[Effect, bool]] = {
    "reset while it is sent": (Reset(When.UPLOADING), True),
    "a bit of the body flipped": (FlipReceived(800_001), True),
    "another CRC-64": (Headers((("x-oss-hash-crc64ecma", "1"),)), True),
    "no CRC-64": (Headers((("x-oss-hash-crc64ecma", None),)), False),
    "4 MB/s": (Slow(4_000_000), True),
}
LASTING = [
    Case("nobody listens", outage(Outage.REFUSE)),
    Case("nothing is answered", outage(Outage.HANG)),
    Case("every answer is 503", outage(Outage.ERRORS)),
    Case("the clock is an hour wrong", skewed),
    Case("the key is taken away", key_taken_away),
]


def reading_cases(packs: list[str]) -> list[Case]:
    cases = list[Case]()
    for name, (effect, masked) in (EVERYWHERE | READING).items():
        cases += both(name, Fault(effect=effect, operation="GetObject", key="*/packs/*"), masked_once=masked)
    swap = Fault(effect=Swap(packs[0]), operation="GetObject", key="*/packs/*")
    return [*cases, *both("another pack", swap, masked_once=False), *LASTING]


def demoting_cases() -> list[Case]:
    cases = list[Case]()
    for name, (effect, masked) in (EVERYWHERE | DEMOTING).items():
        cases += both(f"PUT {name}", Fault(effect=effect, operation="PutObject", key="*/packs/*"), masked_once=masked)
    for name, (effect, masked) in (EVERYWHERE | {"missing": (missing(), False)}).items():
        cases += both(f"HEAD {name}", Fault(effect=effect, operation="HeadObject", key="*/packs/*"), masked_once=masked)
    return cases + LASTING


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(FILE_SIZE)


class Keeper:
    """Writes files and knows what is in them."""

    def __init__(self, volume: ColdVolume) -> None:
        self.volume = volume
        self.count = 0

    def write(self, count: int = FILES) -> None:
        for _ in range(count):
            (self.volume.point / f"f{self.count}").write_bytes(data_of(self.count))
            self.count += 1

    def read(self, numbers: list[int], *, may_fail: bool) -> int:
        """All at once. How many of them could not be read: with EIO, and no other error."""
        with ThreadPoolExecutor(len(numbers)) as pool:
            return sum(pool.map(lambda number: self._fails(number, may_fail), numbers))

    def _fails(self, number: int, may_fail: bool) -> bool:
        data, done = memoryview(data_of(number)), 0
        fd = os.open(self.volume.point / f"f{number}", os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while done < FILE_SIZE:
                found = os.pread(fd, READ_SIZE, done)
                assert found and found == data[done : done + len(found)], f"f{number} at {done} reads wrong"
                done += len(found)
        except OSError as exc:
            assert exc.errno == errno.EIO and may_fail, f"f{number} at {done}: {exc}"
            return True
        finally:
            os.close(fd)
        return False

    def read_when_it_is_over(self, numbers: list[int]) -> float:
        """Everything, without anybody's help; returns the seconds until then."""
        return wait_until(
            lambda: not self.read(numbers, may_fail=True), within_s=BACK_S_MAX, otherwise="it is over, and yet EIO"
        )


def lives(volume: ColdVolume) -> None:
    """Local work goes on, whatever the bucket does."""
    began_s = time.monotonic()
    path = volume.point / "local"
    path.write_bytes(b"local")
    assert path.read_bytes() == b"local" and os.listdir(volume.point)
    path.unlink()
    assert time.monotonic() - began_s < 5.0, "local work waited for the bucket"


def demote_during(keeper: Keeper, oss: OssServer, case: Case) -> bool:
    """One case while its files are demoted; returns whether it was noticed. One that is planned ends while it tries."""
    volume = keeper.volume
    keeper.write()
    with ThreadPoolExecutor(1) as pool:
        with case.wrong(oss):
            demoting = pool.submit(demoted, volume)
            wait([demoting], timeout=None if case.is_masked or case in LASTING else STRIKES_S)
            lives(volume)
        noticed = not demoting.result()
        assert not (noticed and case.is_masked), "it was to be unnoticed"
    wait_until(lambda: demoted(volume), within_s=BACK_S_MAX, otherwise="it is over, and yet not all is demoted")
    return noticed


def demoted(volume: ColdVolume) -> bool:
    """Whether all could be; nothing else is told by who asks again."""
    try:
        return not volume.call("tier_demote", paths=[])["kept"] and not volume.packs()
    except OpeningError:
        return False


def check_demoting(scale: float) -> str:
    failed, cases = 0, chosen(demoting_cases(), scale)
    with (
        folder(need_bytes=len(cases) * 30 * MIB) as base,
        serving(base / "oss") as oss,
        cold_volume(base, oss, config=CONFIG) as volume,
    ):
        keeper, pid = Keeper(volume), volume.pid
        for case in cases:
            try:
                failed += demote_during(keeper, oss, case)
            except (AssertionError, OSError) as exc:
                raise AssertionError(f"while demoting, {case.name}: {exc}") from exc
        assert volume.pid == pid, "the daemon is another one"
        volume.forget()
        keeper.read(list(range(keeper.count)), may_fail=False)
        volume.umount()
        findings = volume.fsck("--data")
        assert findings == [], findings[:5]
    return f"{len(cases)} faults while demoting, {failed} of them noticed; nothing lost, nothing wrong"


def check_reading(scale: float) -> str:
    failed, back_s = 0, 0.0
    with (
        folder(need_bytes=300 * MIB) as base,
        serving(base / "oss") as oss,
        cold_volume(base, oss, config=CONFIG) as volume,
    ):
        keeper = Keeper(volume)
        for _ in range(3):  # packs of their own
            keeper.write()
            volume.demote()
        packs = sorted(one.key for one in oss.counts.seen(operation="PutObject", key="*/packs/*"))
        cases = chosen(reading_cases(packs), scale)
        numbers = list(range(keeper.count))
        for case in cases:
            volume.forget()
            try:
                noticed, took_s = read_during(keeper, oss, case, numbers)
            except (AssertionError, OSError) as exc:
                raise AssertionError(f"while reading, {case.name}: {exc}") from exc
            failed, back_s = failed + noticed, max(back_s, took_s)
        volume.umount()
        findings = volume.fsck("--data")
        assert findings == [], findings[:5]
    return (
        f"{len(cases)} faults while reading {len(numbers)} files, {failed} of them noticed (EIO); all read"
        f" {back_s:.0f} s later at the latest; nothing wrong"
    )


def read_during(keeper: Keeper, oss: OssServer, case: Case, numbers: list[int]) -> tuple[bool, float]:
    """Whether it was noticed, and how long after its end everything was read again."""
    pid = keeper.volume.pid
    with case.wrong(oss):
        noticed = keeper.read(numbers, may_fail=not case.is_masked)
        lives(keeper.volume)
    back_s = keeper.read_when_it_is_over(numbers)
    assert keeper.volume.pid == pid, "the daemon is another one"
    return noticed > 0, back_s


def chosen(cases: list[Case], scale: float) -> list[Case]:
    """Every tenth, at a tenth."""
    return cases[:: max(1, round(1 / scale))]
