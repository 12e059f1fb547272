"""How much each workload does."""

from dataclasses import dataclass, replace

from rustfsfs.units import GIB, KIB, MIB

STREAM_BYTES_PER_S = 500_000_000  # of the paced stream that fsyncs stand beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes are bytes and multiples of 1 MiB; counts are of files, requests or transactions."""

    stream_bytes: int  # each sequential file of noise; more than the chunk cache, so that reading has to open chunks
    text_bytes: int  # each sequential file of text
    block_bytes: int  # in 10 KiB blocks
    record_bytes: int  # in records of 777 bytes
    cached_bytes: int  # file that fits the chunk cache (192 MiB by default)
    large_bytes: int  # file that does not; 8 times the cache
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
        most_bytes = max(
            self.cached_bytes + self.large_bytes,
            2 * self.stream_bytes + self.text_bytes,
            8 * self.parallel_bytes,
            2 * self.overwrite_bytes,
            self.backlog_bytes,
            int(self.beside_s * STREAM_BYTES_PER_S),
            self.file_count * 8 * KIB,
            3 * self.tree_count * 16 * KIB,
        )
        return 2 * most_bytes + 256 * MIB

    @property
    def workshop_bytes(self) -> int:
        """Room for what is prepared on a plain disk: the source tree, its repository and its archive."""
        return 3 * self.tree_count * 16 * KIB


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
    stream_bytes=256 * MIB,
    text_bytes=64 * MIB,
    block_bytes=16 * MIB,
    record_bytes=MIB,
    cached_bytes=64 * MIB,
    large_bytes=384 * MIB,
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
GUARD = replace(
    QUICK,
    stream_bytes=208 * MIB,
    text_bytes=8 * MIB,
    large_bytes=64 * MIB,
    scattered_count=5_000,
    fsync_count=400,
    tree_count=400,
)
TINY = Scale(  # of the tests
    stream_bytes=2 * MIB,
    text_bytes=MIB,
    block_bytes=MIB,
    record_bytes=MIB,
    cached_bytes=MIB,
    large_bytes=MIB,
    scattered_count=20,
    overwrite_bytes=MIB,
    fsync_count=5,
    file_count=20,
    tree_count=30,
    transaction_count=3,
    parallel_bytes=MIB,
    backlog_bytes=MIB,
    beside_s=0.05,
)
