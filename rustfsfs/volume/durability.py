"""fsync means fsync: the verb that waits for the journal."""

from rustfsfs.errors import JournalFailed
from rustfsfs.volume.recording import turn_read_only
from rustfsfs.volume.volume import Volume


async def barrier(volume: Volume) -> None:
    """Return once every op recorded before the call is durable. One fdatasync of the journal for all who wait.

    Raises JournalFailed: the disk would not take it and could not be rewritten (I10); the volume is read-only then.
    """
    try:
        await volume.barriers.barrier()
    except JournalFailed as exc:
        turn_read_only(volume, f"the journal could not be made durable ({exc}); check the disk, then mount again")
        raise
