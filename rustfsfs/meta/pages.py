"""Which version of each page of the database file is the newest: a sum for each, kept beside it. Pure.

A page's seal shows that we wrote it, not that we wrote it last: an older page put back at its place, by a disk that
lost a write or by a person, opens well. So the end of each page's seal is kept as its sum, renewed with a checkpoint:
the seal has a random nonce, so that two writings of a page differ there, and nobody without the key can choose it.

    metadata.pages   blocks of 4096 bytes: 510 sums of 8, page 1 first, 0: none is known | MAC 16 of number u64, sums
"""

import struct

from rustfsfs.content.keys import derive, mac
from rustfsfs.meta.database import PAGE_SIZE

SUM_SIZE, BLOCK_SIZE, MAC_SIZE = 8, 4096, 16
SUMS_PER_BLOCK = (BLOCK_SIZE - MAC_SIZE) // SUM_SIZE
UNKNOWN = bytes(SUM_SIZE)
WAL_HEADER_SIZE, FRAME_HEADER_SIZE = 32, 24  # sqlite.org/fileformat2.html, section 4.1
_WAL_SALTS = slice(16, 24)
_FRAME_SALTS = slice(8, 16)


class Sums:
    """The sums of one database, by page number from 1 on."""

    def __init__(self, key: bytes) -> None:
        self._block_key = derive(key, b"page sum blocks")
        self._blocks: list[bytearray] = []
        self.changed: set[int] = set()  # blocks that are not in the file as they are here

    def known(self, numbers: range) -> list[int]:
        """The sums of pages that follow each other, as numbers to compare with `tails`."""
        found: list[int] = []
        at = numbers.start - 1
        while at < numbers.stop - 1:
            block, first = divmod(at, SUMS_PER_BLOCK)
            count = min(SUMS_PER_BLOCK - first, numbers.stop - 1 - at)
            if block < len(self._blocks):
                found += memoryview(self._blocks[block]).cast("Q")[first : first + count]
            else:
                found += [0] * count
            at += count
        return found

    def get(self, number: int) -> bytes:
        block, at = divmod(number - 1, SUMS_PER_BLOCK)
        if block >= len(self._blocks):
            return UNKNOWN
        return bytes(self._blocks[block][at * SUM_SIZE : (at + 1) * SUM_SIZE])

    def _add(self, block: int) -> None:
        assert block == len(self._blocks), block
        self._blocks.append(bytearray(SUMS_PER_BLOCK * SUM_SIZE))
        self.changed.add(block)

    def put(self, number: int, found: bytes) -> None:
        block, at = divmod(number - 1, SUMS_PER_BLOCK)
        for new in range(len(self._blocks), block + 1):  # the file has no holes
            self._add(new)
        held = self._blocks[block]
        if held[at * SUM_SIZE : (at + 1) * SUM_SIZE] != found:
            held[at * SUM_SIZE : (at + 1) * SUM_SIZE] = found
            self.changed.add(block)

    def encode(self, block: int) -> bytes:
        """BLOCK_SIZE bytes, to stand at `block * BLOCK_SIZE` of the file."""
        sums = bytes(self._blocks[block])
        return sums + self._mac(block, sums)

    def decode(self, data: bytes) -> bool:
        """Take the next block as it was read; False if it is damaged: then nothing is known of its pages."""
        block = len(self._blocks)
        self._add(block)
        sums, found = data[:-MAC_SIZE], data[-MAC_SIZE:]
        if len(data) != BLOCK_SIZE or found != self._mac(block, sums):
            return False
        self._blocks[block] = bytearray(sums)
        self.changed.discard(block)
        return True

    def _mac(self, block: int, sums: bytes) -> bytes:
        return mac(self._block_key, block.to_bytes(8, "little") + sums)[:MAC_SIZE]

    def change_all(self) -> None:
        """The file is lost: every block is to be written again."""
        self.changed |= set(range(len(self._blocks)))


def sum_of(page: bytes) -> bytes:
    """Never UNKNOWN."""
    found = page[-SUM_SIZE:]
    return found if found != UNKNOWN else b"\1" * SUM_SIZE


def tails(data: bytes) -> list[int]:
    """The last bytes of each whole page of `data`: their sums, but for one in 2^64. Fast: for a whole database."""
    words = PAGE_SIZE // SUM_SIZE
    return memoryview(data)[: len(data) // PAGE_SIZE * PAGE_SIZE].cast("Q")[words - 1 :: words].tolist()


def wal_page(header: bytes, salts: bytes) -> int | None:
    """The page number in a frame's header; None if the frame is of an earlier generation of the WAL."""
    if len(header) < FRAME_HEADER_SIZE or header[_FRAME_SALTS] != salts:
        return None
    return int(struct.unpack_from(">I", header)[0])


def wal_salts(header: bytes) -> bytes | None:
    """What all frames of this generation carry; None for an empty WAL."""
    return header[_WAL_SALTS] if len(header) == WAL_HEADER_SIZE else None


def frame_offset(index: int) -> int:
    """Where the frame `index`, 0-based, begins in the WAL."""
    return WAL_HEADER_SIZE + index * (FRAME_HEADER_SIZE + PAGE_SIZE)


def page_offset(number: int) -> int:
    return (number - 1) * PAGE_SIZE


def page_numbers(offset: int, size_bytes: int) -> range:
    """Pages that lie whole in `size_bytes` of the file at `offset`."""
    return range(offset // PAGE_SIZE + 1, (offset + size_bytes) // PAGE_SIZE + 1)
