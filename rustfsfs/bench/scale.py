"""How much each workload does."""

from dataclasses import dataclass

from rustfsfs.units import GIB, KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes are bytes and multiples of 1 MiB; counts are of files, requests or transactions."""

    stream_bytes: int  # each sequential file of noise
    text_bytes: int  # each sequential file of text
    block_bytes: int  # in 10 KiB blocks
    record_bytes: int  # in records of 777 bytes
    cached_bytes: int  # file that fits the chunk cache (192 MiB by default)
    large_bytes: int  # file that does not
    scattered_count: int  # random 4 KiB requests
    overwrite_bytes: int  # file that is overwritten once in random order
    fsync_count: int
    file_count: int  # small files
    tree_count: int  # files of the source tree
    transaction_count: int
    parallel_bytes: int  # each of 4 writers and 4 readers
    backlog_bytes: int  # hot when the sealer is watched
    beside_s: float  # of a paced stream

    @property
    def space_bytes(self) -> int:
        """Room that the largest workload takes, with what a journal holds twice, and some to spare."""
        return (
            2 * max(3 * self.large_bytes, 4 * self.stream_bytes, 8 * self.parallel_bytes, self.overwrite_bytes)
            + (self.tree_count + self.file_count) * 32 * KIB
        )


FULL = Scale(
    stream_bytes=512 * MIB,
    text_bytes=256 * MIB,
    block_bytes=64 * MIB,
    record_bytes=8 * MIB,
    cached_bytes=128 * MIB,
    large_bytes=1536 * MIB,
    scattered_count=10_000,
    overwrite_bytes=GIB,
    fsync_count=500,
    file_count=20_000,
    tree_count=8_000,
    transaction_count=300,
    parallel_bytes=64 * MIB,
    backlog_bytes=GIB,
    beside_s=3.0,
)
QUICK = Scale(
    stream_bytes=128 * MIB,
    text_bytes=64 * MIB,
    block_bytes=16 * MIB,
    record_bytes=MIB,
    cached_bytes=64 * MIB,
    large_bytes=256 * MIB,
    scattered_count=2_000,
    overwrite_bytes=32 * MIB,
    fsync_count=100,
    file_count=2_000,
    tree_count=1_000,
    transaction_count=50,
    parallel_bytes=16 * MIB,
    backlog_bytes=128 * MIB,
    beside_s=1.0,
)
