"""Content-defined chunking: FastCDC (Xia et al., USENIX ATC 2020), by pyfastcdc.

The same bytes are cut at the same places wherever they lie, so an insertion costs the chunks around it only. The
gear table is seeded per volume; that is no secret: a seed can be found out from chunk sizes.
"""

from pyfastcdc import FastCDC


class Chunker:
    """Cuts into chunks of `chunk_min` to `chunk_max` bytes, about `chunk_avg` in the mean. One thread at a time.

    pyfastcdc's mean is its avg_size + min_size (its documentation, the paper's §3.4), so it is given the difference.
    """

    def __init__(self, chunk_min: int, chunk_avg: int, chunk_max: int, seed: int) -> None:
        assert 0 < chunk_min < chunk_avg < chunk_max
        self._cutter = FastCDC(
            chunk_avg - chunk_min, min_size=chunk_min, max_size=chunk_max, normalized_chunking=1, seed=seed
        )

    def cut(self, data: memoryview) -> list[int]:
        """Lengths of the chunks, in order; their sum is len(data). The last may be shorter than `chunk_min`."""
        return [chunk.length for chunk in self._cutter.cut_buf(data)]
