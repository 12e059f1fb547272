"""The cache disk: what GETs brought, one file for each, encrypted as it came. Which ones to keep is `cache.pieces`.

Nothing here is needed: a file that is lost, torn or damaged is fetched again, so nothing is synced.
"""

from collections.abc import Iterable
from contextlib import suppress

from rustfsfs.cache.pieces import Piece
from rustfsfs.world import Files, opened

FOLDER = "cold"
SUFFIX = ".new"


class PieceFiles:
    """Calls block, and may come from several threads at once for different pieces. They raise OSError."""

    def __init__(self, files: Files, volume: str) -> None:
        self._files = files
        self.path = f"{volume}/{FOLDER}"

    def begin(self) -> list[Piece]:
        """What an earlier life left; what it did not finish is gone."""
        self._files.mkdir(self.path)
        found = []
        for name in self._files.names(self.path):
            piece = _parse(name)
            if piece is not None and self._files.size(f"{self.path}/{name}") == piece.size_bytes:
                found.append(piece)
            else:
                self._files.unlink(f"{self.path}/{name}")
        return found

    def write(self, piece: Piece, data: bytes) -> None:
        """Under its name only when it is whole. If there is no room for it, nothing of it is left."""
        assert len(data) == piece.size_bytes, piece
        name = self._name(piece)
        fd = self._files.create(name + SUFFIX)
        try:
            done = self._files.pwrite_much(fd, [data], 0)
        finally:
            self._files.close(fd)
        if done != len(data):
            self._files.unlink(name + SUFFIX)
            raise OSError(f"no room for {name}")
        self._files.rename(name + SUFFIX, name)

    def read(self, piece: Piece, offset: int, size: int) -> bytes:
        """`size` bytes at `offset` of the pack; fewer if the file is not whole."""
        with opened(self._files, self._name(piece)) as fd:
            return self._files.pread(fd, size, offset - piece.offset)

    def delete(self, pieces: Iterable[Piece]) -> None:
        """Never raises: what cannot be deleted is found by the next `begin`."""
        for piece in pieces:
            with suppress(OSError):
                self._files.unlink(self._name(piece))

    def _name(self, piece: Piece) -> str:
        return f"{self.path}/{piece.pack:x}-{piece.disk:x}-{piece.offset:x}-{piece.size_bytes:x}"


def _parse(name: str) -> Piece | None:
    try:
        pack, disk, offset, size_bytes = (int(part, 16) for part in name.split("-"))
    except ValueError:
        return None
    return Piece(pack, disk, offset, size_bytes)
