"""A pack and a disk, as the policies of the cold tier see them. The pack is the unit of placement (DESIGN.md §3)."""

from typing import NamedTuple

from rustfsfs.bucketfacts import Placement

PackKey = tuple[int, int]  # (pack, disk), as everywhere


class BucketObject(NamedTuple):
    """A pack's copy in the bucket, recorded once it was proved."""

    uploaded_s: float  # since 1970; its minimum days count from there
    placement: Placement
    size_bytes: int  # of the object: frames, header and directory


class Busy(NamedTuple):
    """Bytes read of late from a pack in the bucket; they fade (`busy.noted`)."""

    bytes: float
    at_s: float  # when `bytes` was true


class Pack(NamedTuple):
    """Times are seconds since 1970, sizes bytes."""

    pack: int
    disk: int
    size_bytes: int  # of its frames, dead ones too
    live_bytes: int
    closed: bool  # takes no more frames
    is_local: bool  # a copy lies on its disk
    object: BucketObject | None
    has_holes: bool  # dead frames are punched out: the local copy is never uploaded or compared as a whole
    sealed_s: float  # when its first frame was stored
    last_read_s: float | None = None  # coarse; None: not known. Who rewrites a pack hands this on
    is_away: bool = False  # its copy lies on a disk that is not there now
    is_pinned: bool = False  # a pinned tree names one of its chunks
    busy: Busy | None = None
    others: tuple[tuple[PackKey, ...], ...] | None = None  # of its live chunks: in which other packs each lies too
    is_elsewhere: bool = False  # the bucket has each of its live chunks in one of those

    @property
    def key(self) -> PackKey:
        return self.pack, self.disk

    @property
    def heat_s(self) -> float:
        """When it was last wanted, as far as anybody knows."""
        return max(self.sealed_s, self.last_read_s or 0.0, self.busy.at_s if self.busy else 0.0)

    @property
    def is_proved(self) -> bool:
        """The bucket has all of it, or else all that lives in it (I7)."""
        return self.is_elsewhere or (self.object is not None and self.object.size_bytes >= self.size_bytes)

    @property
    def freed_bytes(self) -> int:
        """What dropping the local copy gives back at the least."""
        return self.live_bytes if self.has_holes else self.size_bytes


def since_s(noted_s: float | None, *, now_s: float) -> float:
    """What was noted of when something was, as the policies take it; the caller keeps it, or else it is now each time.

    Now, if nothing was noted; or what lies in the future: the clock was wrong then, and was set back.
    """
    return now_s if noted_s is None else min(noted_s, now_s)


class Disk(NamedTuple):
    disk: int
    total_bytes: int
    used_bytes: int
    growing_bytes: int = 0  # will be used soon: what is being sealed or brought back

    def above_bytes(self, share: float) -> float:
        """How much too much is used, if it should be `share` of the disk; negative: that much room."""
        return self.used_bytes + self.growing_bytes - share * self.total_bytes
