"""5a. An hour of outage, on a clock that goes 60 times as fast: a volume in this process, the server beside it.

Somebody writes and reads all the while. Nobody local waits; cold data is an error and no more; the backlog is told, and
drains by itself when the hour is over.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from rustfsfs import ops
from rustfsfs.config import Config, Seal
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.address import parse_address
from rustfsfs.store.cold import Door, open_door
from rustfsfs.store.credentials import KEY_ID, KEY_SECRET, EnvironmentSource
from rustfsfs.store.oss import OssBucket
from rustfsfs.tasks.collector import run_collector
from rustfsfs.tasks.epochs import run_epochs
from rustfsfs.tasks.mover import run_mover
from rustfsfs.tasks.publisher import run_publisher
from rustfsfs.tasks.sealer import run_sealer
from rustfsfs.tiers.protect import ProtectPolicy
from rustfsfs.units import MIB, Nanoseconds
from rustfsfs.volume import connecting, reading, tiering
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.recording import record
from rustfsfs.volume.status import bucket as bucket_status
from rustfsfs.volume.tiercommands import tier_demote
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Timing, real_timing, real_world
from tests.long.cold.place import PREFIX, folder
from tests.oss_server import OssServer, Outage, serving
from tests.volume.on_bucket import ANY_DISK, NOISE, sealed
from tests.volume.on_disk import Key, format_in, write_file

RATE = 60.0  # seconds of the volume's in one of ours
HOUR_S = 3600.0
EVERY_S = 60.0
LOCAL_S_MAX = 1.0  # of ours, for a MiB written and one read; measured 0.03
DRAINED_S_MAX = 1200.0
CONFIG = Config(demote=ANY_DISK.demote, seal=Seal(quiet_s=5.0), protect=ProtectPolicy(enabled=True, within_s=60.0))
TASKS = (run_epochs, run_sealer, run_collector, run_mover, run_publisher)


def fast_timing() -> Timing:
    return Timing(
        clock_s=lambda: time.monotonic() * RATE,
        sleep=lambda seconds: time.sleep(seconds / RATE),
        jitter=real_timing().jitter,
    )


def door_to(oss: OssServer) -> Door:
    source = EnvironmentSource({KEY_ID: oss.key_id, KEY_SECRET: oss.secret})
    address = parse_address(f"oss://packs/{PREFIX}", endpoint=oss.endpoint, region=oss.region)
    bucket = OssBucket(address, source, clock_s=time.monotonic)
    return open_door(bucket, source, limits=connecting.limits_of(CONFIG), timing=fast_timing())


@asynccontextmanager
async def opened(path: Path, oss: OssServer) -> AsyncIterator[Volume]:
    """With the tasks of a mount."""
    began_ns, began_s = time.time_ns(), time.monotonic()
    world = replace(
        real_world(),
        now_ns=lambda: Nanoseconds(began_ns + int((time.monotonic() - began_s) * RATE * 1e9)),
    )
    async with opened_volume(world, Opening(path=str(path), secret=Key(), config=CONFIG)) as volume:
        (path / "ballast").unlink(missing_ok=True)
        record(volume, ops.AttachBucket())
        volume.tier.door = door_to(oss)
        await connecting.begin_cache(volume)
        async with trio.open_nursery() as nursery:
            for task in TASKS:
                await nursery.start(task, volume)
            yield volume
            nursery.cancel_scope.cancel()


async def read(volume: Volume, inode: int, size: int = 1 << 40) -> bytes:
    """As through FUSE, by who has nothing in memory."""
    for key in [*volume.cache._probation, *volume.cache._protected]:
        volume.cache.remove(key)
    found = b""
    while len(found) < size:
        await volume.gate.opened()
        part = await reading.read(volume, inode, len(found), MIB)
        if not part:
            break
        found += bytes(part)
    return found


class User:
    """Writes a MiB every minute, reads another, and tries what is cold."""

    def __init__(self, volume: Volume, cold: int, cold_data: bytes) -> None:
        self.volume, self.cold, self.cold_data = volume, cold, cold_data
        self.files: list[tuple[int, bytes]] = []
        self.slowest_s = 0.0
        self.cold_errors = 0

    async def try_cold(self) -> None:
        """Only its beginning: what is read much comes back to the disk."""
        try:
            assert await read(self.volume, self.cold, MIB) == self.cold_data[:MIB], "cold data reads wrong"
        except CloudUnavailable:
            self.cold_errors += 1

    async def go_on(self, for_s: float, *, tries_cold: bool) -> None:
        until_s = trio.current_time() + for_s
        while trio.current_time() < until_s:
            data, began_s = NOISE.randbytes(MIB), time.monotonic()
            await self.volume.gate.opened()
            inode = await write_file(self.volume, b"f%d" % len(self.files), data)
            self.files.append((inode, data))
            inode, data = self.files[len(self.files) // 2]
            assert await read(self.volume, inode) == data, "local data reads wrong"
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            if tries_cold:
                await self.try_cold()
            await trio.sleep(EVERY_S)


async def go_through(path: Path, oss: OssServer, hour_s: float) -> str:
    async with opened(path, oss) as volume:
        cold_data = NOISE.randbytes(12 * MIB)
        user = User(volume, await sealed(volume, b"cold", cold_data), cold_data)
        await tier_demote(volume, {}, no_progress)
        volume.tier.files = None  # nothing is kept: each read of it asks the bucket
        await user.go_on(300.0, tries_cold=False)
        await user.try_cold()
        assert not user.cold_errors, "the bucket answers, and cold data could not be read"
        told = dict[str, Any]()
        for how in (Outage.REFUSE, Outage.ERRORS):
            with oss.outage(how):
                volume.tier.recent.clear()
                await user.go_on(hour_s / 2, tries_cold=True)
                told = bucket_status(volume) or {}
                assert told["unreachable_since_ns"], told
        backlog = told["backlog"]["bytes"]
        assert backlog > 0 and user.cold_errors, (told, user.cold_errors)
        drained_s = await drained(volume)
        volume.tier.recent.clear()
        assert await read(volume, user.cold) == cold_data
        for inode, data in user.files:
            assert await read(volume, inode) == data
    said = (
        f"{hour_s / 60:.0f} minutes: {len(user.files)} MiB written, the slowest MiB written and read in"
        f" {user.slowest_s:.2f} s (at most {LOCAL_S_MAX:g}), {user.cold_errors} cold reads failed; a backlog of"
        f" {backlog / MIB:.0f} MiB was gone {drained_s:.0f} s after it (at most {DRAINED_S_MAX:.0f})"
    )
    assert user.slowest_s <= LOCAL_S_MAX, said
    return said


async def drained(volume: Volume) -> float:
    """Seconds until everything sealed is in the bucket."""
    began_s = trio.current_time()
    with trio.fail_after(DRAINED_S_MAX):
        while True:
            await trio.sleep(5.0)
            packs = (await tiering.gather(volume)).packs
            if all(pack.object for pack in packs) and not volume.tier.backlog.bytes:
                return trio.current_time() - began_s


def check(scale: float) -> str:
    with folder(need_bytes=500 * MIB) as base, serving(base / "oss") as oss:
        path = format_in(base / "volume")
        return trio.run(go_through, path, oss, max(600.0, HOUR_S * scale), clock=MockClock(rate=RATE))
