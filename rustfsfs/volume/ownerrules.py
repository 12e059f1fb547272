"""What the bucket's owner has set up since it was attached: rules that lose or freeze packs, versioning. Once a day.

Asked past the door, by a client of its own: three requests that only read, and what comes of them says nothing about
the way to the packs.
"""

import trio

from rustfsfs.errors import RustfsfsError
from rustfsfs.tiers.bucket_rules import Finding, Severity
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import bucketcheck, connecting
from rustfsfs.volume.bucketfile import read_bucket_file
from rustfsfs.volume.volume import Volume, log


async def look(volume: Volume) -> None:
    """Set `tier.rules` to what is wrong there now; what is new is logged. Who cannot ask leaves what was known."""
    tier = volume.tier
    try:
        found = await trio.to_thread.run_sync(_look, volume, limiter=tier.workers, abandon_on_cancel=True)
    except RustfsfsError as exc:
        log.info("the bucket could not be asked for its owner's rules, it is asked again tomorrow: %s", exc)
        return
    for finding in found:
        if finding not in tier.rules:
            say = log.error if finding.severity is Severity.REFUSE else log.warning
            say("the bucket is not as it has to be: %s", finding.text)
    tier.rules = found


def _look(volume: Volume) -> list[Finding]:
    """Blocking. Raises UsageError, MachineTrouble, CloudUnavailable, CloudRefused."""
    file = read_bucket_file(volume.world.files, volume.path)
    if file is None:
        return []
    source = connecting.source_of(volume.world, file)
    return bucketcheck.look(
        file.address, source, volume.config.bucket.placement, now_s=volume.world.now_ns() / SECOND_NS
    )
