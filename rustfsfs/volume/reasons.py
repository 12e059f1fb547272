"""Why a person should look at a volume: each reason one sentence. None: it is healthy."""

import trio

from rustfsfs.tiers.bucket_rules import Severity
from rustfsfs.volume.diskspace import failing, hanging, lost
from rustfsfs.volume.leftalone import DAMAGE
from rustfsfs.volume.volume import READ_ONLY_ASKED, Volume

REFUSED_S = 300.0  # so long it is told of, unless somebody has seen room since: only who writes looks for some


def reasons(volume: Volume) -> list[str]:
    """Of an open volume, worst first. Nobody is asked: this is what was met so far."""
    health, running = volume.health, volume.metadata.running
    found: list[str] = []
    asked = health.read_only_reason in (None, READ_ONLY_ASKED)
    if (trouble := health.trouble if asked else health.read_only_reason) is not None:
        found.append(f"read-only: {trouble}")
    found += [f"a disk is missing: {why}" for why in health.missing_disks.values()]
    found += [f"a disk does not answer: {why}" for why in lost(volume).values()]
    found += [f"a disk takes no new data: {why}" for why in failing(volume).values()]
    if hung := [volume.disks[number].path for number in hanging(volume) if number in volume.disks]:
        found.append(f"writing to {' and '.join(hung)} does not end: what is written waits in the journal")
    if health.short_batches:
        found.append("some data has fewer copies than it should, since a disk was missing: the next scrub stores more")
    if trio.current_time() - volume.room.refused_s < REFUSED_S:
        found.append("the disks are full, and writing fails (No space left on device): free some, or add a disk")
    if health.damaged_metadata is not None:
        found.append(health.damaged_metadata)
    if running.bad_chunks:
        count = "1 chunk is" if running.bad_chunks == 1 else f"{running.bad_chunks:,} chunks are"
        found.append(f"{count} damaged: fsck --data names the files")
    if running.scrub_found > running.scrub_repaired:
        found.append(f"the last scrub left {running.scrub_found - running.scrub_repaired:,} damaged: see its log")
    alone = health.left_alone.counts(now_s=trio.current_time())
    found += [f"packs {why.value}: {alone[why]:,}" for why in DAMAGE if why in alone]
    found += [f"{name} fails: {error}" for name, error in sorted(health.tasks.items()) if error]
    if (trouble := bucket_trouble(volume)) is not None:
        found.append(f"the bucket needs a look: {trouble}")
    wrong = [rule.text for rule in volume.tier.rules if rule.severity is Severity.REFUSE]
    found += [f"the bucket is not as it has to be: {text}" for text in wrong]
    return found


def bucket_trouble(volume: Volume) -> str | None:
    """Why a person has to do something about the bucket. An outage is no such reason: it ends by itself."""
    door = volume.tier.door
    if volume.tier.fenced is not None:
        return volume.tier.fenced
    if door is not None and (facts := door.breaker.facts()).refused:
        return facts.last_error
    return volume.tier.trouble
