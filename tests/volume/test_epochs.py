"""COMMIT with the gate shut waits for nobody."""

from pathlib import Path

from rustfsfs.volume import epochs, paths
from rustfsfs.volume.volume import Volume
from tests.volume.on_disk import change, format_in, write_file


def test_who_reads_an_older_commit_does_not_hold_the_gate_shut(tmp_path: Path) -> None:
    """fsck and scrub may, for minutes, and meanwhile the WAL outgrows its size."""
    pauses_ms: list[float] = []

    async def work(volume: Volume) -> None:
        await write_file(volume, b"a", b"a")
        await epochs.commit(volume)
        with paths.reading_apart(volume):
            await write_file(volume, b"b", b"b")
            volume.activity.wal_bytes = epochs.WAL_SIZE_MAX + 1
            await epochs.commit(volume)
        pauses_ms.append(volume.health.pauses_ms[-1])

    change(format_in(tmp_path / "v"), work)
    assert pauses_ms[0] < 5000
