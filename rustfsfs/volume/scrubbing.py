"""Scrubbing: everything that is stored is read and verified while the volume works, and mended where that can be.

A pass goes through the packs in order, then through what lies beside them (`volume.auditing`). The background's pass
is recorded, so that it goes on where it was after an unmount or a crash (DESIGN.md §9, op Scrubbed).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import trio

from rustfsfs import ops
from rustfsfs.errors import DamagedMetadata, NoSpace, StoreUnavailable
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.chunks import Pack
from rustfsfs.tiers.pace import rest_s
from rustfsfs.volume import auditing, epochs, mending
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.diskspace import takes_packs
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.mending import Findings
from rustfsfs.volume.reading import pinned_packs
from rustfsfs.volume.recording import now, record
from rustfsfs.volume.turns import BUSY_S, is_busy
from rustfsfs.volume.volume import Volume

PACKS_AT_ONCE = 200
RECORD_EVERY_S = 60.0
PAUSE_S = 10.0
SHORT_AGAIN_S = 86400.0  # after a pass that could not store all second copies, as on a full disk
START = (0, -1)  # before the first (disk, pack)


@dataclass(slots=True)
class Pass:
    """One going through everything."""

    repair: bool
    is_polite: bool  # the background's: rests while the foreground works, and keeps to the settings
    begun_ns: int
    rate_bytes_s: int = 0  # of a person's; 0 is as fast as it goes
    at: tuple[int, int] = START  # the last (disk, pack) verified
    findings: Findings = field(default_factory=Findings)
    recorded_s: float = -1e9  # trio's clock


async def scrub(volume: Volume, *, repair: bool, rate_bytes_s: int, progress: Progress = no_progress) -> Findings:
    """One whole pass, asked for by a person. Raises NoSpace, StoreError: no snapshot could be taken for a bad one."""
    if volume.scrub_lock.locked():
        progress(0, 0, "waiting for another scrub")
    async with volume.scrub_lock:
        await volume.gate.opened()
        one = Pass(repair=repair, rate_bytes_s=rate_bytes_s, is_polite=False, begun_ns=now(volume))
        await _finish(volume, one, progress)
        return one.findings


async def scrub_on(volume: Volume) -> Findings:
    """The rest of the background's pass, or a new one; what it can mend, it mends.

    Raises NoSpace, StoreError: something could not be stored anew.

    It takes days, and a person is not to wait for its end: one who asks has the lock after the pack that it is at.
    """
    await volume.gate.opened()
    running = volume.metadata.running
    one = Pass(repair=True, is_polite=True, begun_ns=now(volume))
    if running.scrub_begun_ns:
        one.begun_ns, one.at = running.scrub_begun_ns, (running.scrub_disk, running.scrub_pack)
        one.findings.found, one.findings.repaired = running.scrub_found, running.scrub_repaired
        one.findings.verified_bytes = running.scrub_bytes
    await _finish(volume, one, no_progress)
    return one.findings


@asynccontextmanager
async def _turn(volume: Volume, one: Pass) -> AsyncIterator[None]:
    """A piece of a pass; a person's holds the lock from its beginning to its end."""
    async with volume.scrub_lock if one.is_polite else nullcontext():
        yield


async def _finish(volume: Volume, one: Pass, progress: Progress) -> None:
    short_batches = volume.health.short_batches if one.at == START and one.repair and can_make_up(volume) else 0
    for part in (_scrub_packs, _scrub_headers, _scrub_metadata):
        try:
            await part(volume, one, progress)
        except DamagedMetadata as exc:
            one.findings.add(str(exc))
    await _record(volume, one, ended_ns=now(volume))
    await epochs.commit(volume)
    if not one.findings.has_few and short_batches == volume.health.short_batches:
        volume.health.short_batches = 0
    elif one.repair:
        volume.health.short_again_s = trio.current_time() + SHORT_AGAIN_S


def can_make_up(volume: Volume) -> bool:
    """Are there chunks with too few copies, and the disks for more?"""
    if not volume.health.short_batches:
        return False
    ready = {row.disk for row in disks.all_(volume.metadata) if not row.draining and row.disk in volume.disks}
    return sum(takes_packs(volume, disk) for disk in ready) >= volume.header.copies


async def _scrub_packs(volume: Volume, one: Pass, progress: Progress) -> None:
    while rows := await _next_packs(volume, one.at):
        for row in rows:
            while one.is_polite and not volume.config.scrub.interval_s:  # it is not wanted any more
                await trio.sleep(PAUSE_S)
            async with _turn(volume, one):
                if row.disk in volume.disks and not row.is_cold:
                    await _scrub_pack_or_say(volume, one, row, progress)
                else:
                    one.findings.has_few |= not row.is_cold
            one.at = row.disk, row.pack
            await _record(volume, one)
            if volume.activity.uncommitted_rows >= volume.activity.epoch_rows:  # not mounted, nobody else does it
                await epochs.commit(volume)


async def _scrub_pack_or_say(volume: Volume, one: Pass, row: Pack, progress: Progress) -> None:
    """What could not be mended for want of room is told with all the rest, and the packs behind it have their turn.

    When a disk is gone the background waits.
    """
    try:
        await _scrub_pack(volume, one, row, progress)
    except (NoSpace, StoreUnavailable) as exc:
        if one.is_polite and isinstance(exc, StoreUnavailable):
            raise
        one.findings.has_few = True
        one.findings.add(f"pack {row.pack} on disk {row.disk}: what is damaged in it was not stored anew ({exc})")


async def _next_packs(volume: Volume, after: tuple[int, int]) -> list[Pack]:
    await volume.gate.opened()
    return chunks.packs_behind(volume.metadata, after, PACKS_AT_ONCE)


async def _scrub_pack(volume: Volume, one: Pass, row: Pack, progress: Progress) -> None:
    behind, key, before = -1, (row.pack, row.disk), (_left(one.findings), one.findings.not_now)
    with pinned_packs(volume, {(row.pack, row.disk)}):
        while True:
            total_bytes = max(volume.metadata.running.stored_bytes, one.findings.verified_bytes)
            progress(one.findings.verified_bytes, total_bytes, "scrubbing packs")
            started_s = trio.current_time()
            behind, size_bytes = await mending.verify_slice(volume, row, behind, one.findings, repair=one.repair)
            if behind < 0:
                break
            await _rest(volume, one, size_bytes, trio.current_time() - started_s)
    await mending.verify_ends(volume, row, one.findings, repair=one.repair)
    if one.findings.not_now > before[1]:
        volume.health.left_alone.leave(key, Why.NOT_NOW, one.findings.lines[-1], now_s=trio.current_time())
    elif _left(one.findings) == before[0]:
        volume.health.left_alone.release(key)


def _left(findings: Findings) -> int:
    """What was found, and not mended."""
    return findings.found - findings.repaired


async def _scrub_headers(volume: Volume, one: Pass, progress: Progress) -> None:
    async with _turn(volume, one):
        await auditing.audit_pages(volume, one.findings, partial(_rest, volume, one))
        await auditing.audit_headers(volume, one.findings, repair=one.repair)
        await auditing.audit_snapshots(volume, one.findings, repair=one.repair)


async def _scrub_metadata(volume: Volume, one: Pass, progress: Progress) -> None:
    progress(one.findings.verified_bytes, one.findings.verified_bytes, "checking metadata and hot data")
    await epochs.commit(volume)

    def step() -> None:
        trio.from_thread.check_cancelled()
        if one.is_polite:
            trio.from_thread.run(trio.sleep, BUSY_S)

    async with _turn(volume, one):
        audit = partial(auditing.audit_metadata, volume, step, rows=not one.is_polite)
        lines = await trio.to_thread.run_sync(audit)
    for line in lines:
        one.findings.add(line)


async def _rest(volume: Volume, one: Pass, size_bytes: int, took_s: float) -> None:
    held_up = one.is_polite and is_busy(volume)
    rate_bytes_s = volume.config.scrub.rate_bytes_s if one.is_polite else one.rate_bytes_s
    await trio.sleep(rest_s(size_bytes=size_bytes, took_s=took_s, rate_bytes_s=rate_bytes_s, is_busy=held_up))


async def _record(volume: Volume, one: Pass, *, ended_ns: int = 0) -> None:
    """Where the pass is, once a minute, and its end. Where nothing may be changed, nothing is recorded."""
    is_due = trio.current_time() - one.recorded_s >= RECORD_EVERY_S
    await volume.gate.opened()
    if volume.health.read_only_reason is not None or not (ended_ns or (one.is_polite and is_due)):
        return
    one.recorded_s = trio.current_time()
    record(
        volume,
        ops.Scrubbed(
            begun_ns=0 if ended_ns else one.begun_ns,
            ended_ns=ended_ns or volume.metadata.running.scrub_ended_ns,
            disk=one.at[0],
            pack=one.at[1],
            verified_bytes=one.findings.verified_bytes,
            found=one.findings.found,
            repaired=one.findings.repaired,
        ),
    )
