"""What a store of packs is: the contract that disks, the fake and every wrapper keep (tests/contract)."""

from collections.abc import Sequence
from typing import Protocol

from rustfsfs.store.layout import DirectoryEntry
from rustfsfs.units import PackNo
from rustfsfs.world import Space


class PackAppender(Protocol):
    """One open pack on one disk, for one caller at a time."""

    pack: PackNo
    size_bytes: int  # where the next frame will be

    def append(self, frames: Sequence[bytes | memoryview]) -> list[int]:
        """The frames' offsets; not durable yet. Raises NoSpace, StoreUnavailable: it takes nothing more then."""
        ...

    def sync(self) -> None:
        """Everything appended is durable on return. After a failure it never says so again (I10)."""
        ...

    def abandon(self, end_bytes: int) -> None:
        """Give up: what lies before `end_bytes` stays, at 0 nothing does. Never raises."""
        ...

    def close(self) -> int:
        """Directory appended and durable; returns the file's size."""
        ...


class PackStore(Protocol):
    """Packs by number, written once. All calls block; reads may come from several threads at once."""

    path: str
    uuid: bytes

    def create_pack(self, pack: PackNo) -> PackAppender:
        """A new pack. Raises NoSpace, StoreUnavailable."""
        ...

    def read(self, pack: PackNo | int, offset: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises PackMissing, DamagedData (it ends before), StoreUnavailable."""
        ...

    def read_cached(self, pack: PackNo | int, offset: int, size: int) -> bytes | memoryview | None:
        """As `read`, or None if that would wait for anything, or would fail. The one call that never blocks.

        For the trio thread only; good until its next call of any disk's.
        """
        ...

    def delete(self, pack: PackNo | int) -> None:
        """Absent already is success: crash recovery deletes twice. Raises StoreUnavailable."""
        ...

    def sweep(self) -> None:
        """What `adopt_pack` left when the process ended is gone. Raises StoreUnavailable."""
        ...

    def packs(self) -> list[PackNo]: ...
    def pack_size(self, pack: PackNo | int) -> int:
        """Raises PackMissing, StoreUnavailable."""
        ...

    def read_directory(self, pack: PackNo | int) -> list[DirectoryEntry]:
        """What the pack's own directory names. Raises DamagedData (none, or damaged), PackMissing, StoreUnavailable."""
        ...

    def check_header(self, pack: PackNo | int) -> None:
        """Raises DamagedData (it is damaged, or another pack's), PackMissing, StoreUnavailable."""
        ...

    def scan_frames(self, pack: PackNo | int) -> list[DirectoryEntry]:
        """The frames of a pack by their own headers, up to the first that does not open."""
        ...

    def finish_pack(self, pack: PackNo, end: int, entries: list[DirectoryEntry]) -> None:
        """After a crash: cut at `end`, append the directory, durable. Safe to repeat."""
        ...

    def adopt_pack(self, pack: PackNo, parts: Sequence[bytes]) -> None:
        """A whole pack that was somewhere else, durable on return; one that is there is replaced.

        Raises NoSpace, StoreUnavailable: then nothing of it is there.
        """
        ...

    def space(self) -> Space: ...
    def close(self) -> None:
        """Let go of what is open, as nobody reads any more. Who still does opens it again."""
        ...

    def answers(self) -> bool:
        """Is it there at all? Asked when something on it cannot be read. Never raises."""
        ...
