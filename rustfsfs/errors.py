"""Every error rustfsfs raises on purpose; anything else is a bug of ours.

RustfsfsError
├── NotFound            NoSuchEntry, NoSuchInode, NoSuchXattr
├── Refused             the request cannot be; the caller is told and nothing changed
│   ├── EntryExists, NotEmpty, IsDirectory, NotDirectory, NameTooLong, FileTooLarge, TooManyLinks,
│   │   InvalidArgument, NotSupported, NotPermitted, TooBig (an xattr)
│   └── ReadOnlyVolume  the whole volume takes no change now; says why
├── NoSpace             the disks are full; freeing still works
├── DamagedData         bytes came back, and they are not the bytes we sealed; EIO for that range
│   └── DamagedMetadata a page of the database
├── StoreError          StoreUnavailable (a disk is missing or fails), PackMissing
│   ├── CloudUnavailable the bucket does not answer as it should: try later
│   │   ├── CloudThrottled  it asks for fewer requests: slow down, then try again
│   │   └── CircuitOpen     it was not asked at all, since it has not answered for a while: do not try again now
│   ├── CloudRefused    credentials, clock or policy: stop the work with the cloud, raise an alarm; local work goes on
│   └── ObjectMissing, ObjectExists, ObjectFrozen (ask for its restore; EAGAIN)
└── OpeningError        a volume cannot be opened; `exit_code` says what kind of trouble it is
    ├── WrongKey (3)    NotAVolume, NewerFormat, DamagedVolume (4)    InUse (5)    MachineTrouble, NotThere (6)
    └── UsageError (2)  EndedEarly (130)
"""

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class RustfsfsError(Exception):
    """The root. Its text is one sentence: what happened to what, and what to do."""


class NotFound(RustfsfsError):
    pass


class NoSuchEntry(NotFound):
    pass


class NoSuchInode(NotFound):
    pass


class NoSuchXattr(NotFound):
    pass


class Refused(RustfsfsError):
    pass


class EntryExists(Refused):
    pass


class NotEmpty(Refused):
    pass


class IsDirectory(Refused):
    pass


class NotDirectory(Refused):
    pass


class NameTooLong(Refused):
    pass


class FileTooLarge(Refused):
    pass


class TooManyLinks(Refused):
    pass


class InvalidArgument(Refused):
    pass


class NotSupported(Refused):
    pass


class NotPermitted(Refused):
    pass


class TooBig(Refused):
    pass


class ReadOnlyVolume(Refused):
    pass


class NoSpace(RustfsfsError):
    pass


class DamagedData(RustfsfsError):
    pass


class DamagedMetadata(DamagedData):
    pass


class StoreError(RustfsfsError):
    passed_bytes: int | None = None  # of a request's body, before it failed; None: nobody counted them


class StoreUnavailable(StoreError):
    def __init__(self, text: str, *, disk: int | None = None) -> None:
        super().__init__(text)
        self.disk = disk  # the disk of the volume that took no pack, if it is about that


class PackMissing(StoreError):
    pass


class CloudUnavailable(StoreError):
    pass


class CloudThrottled(CloudUnavailable):
    def __init__(self, text: str, *, delay_s: float | None = None) -> None:
        super().__init__(text)
        self.delay_s = delay_s  # how long to wait at the least; None: the bucket did not say


class CircuitOpen(CloudUnavailable):
    pass


class CloudRefused(StoreError):
    pass


class ObjectMissing(StoreError):
    pass


class ObjectExists(StoreError):
    pass


class ObjectFrozen(StoreError):
    pass


class JournalFailed(RustfsfsError):
    """The journal could not take or sync a record; the op was not acknowledged."""


class OpeningError(RustfsfsError):
    """A command cannot go on. The text is the sentence the user sees."""

    exit_code = 4


class UsageError(OpeningError):
    exit_code = 2


class WrongKey(OpeningError):
    exit_code = 3


class NotAVolume(OpeningError):
    exit_code = 4


class NotThere(NotAVolume):
    """Nothing is where the volume of a NAME should be: its disk may come yet, and trying again may help."""

    exit_code = 6


class NewerFormat(OpeningError):
    exit_code = 4


class DamagedVolume(OpeningError):
    exit_code = 4


class InUse(OpeningError):
    exit_code = 5


class MachineTrouble(OpeningError):
    exit_code = 6


class EndedEarly(OpeningError):
    """A signal came before the mount served."""

    exit_code = 130


def without_frames(exc: E) -> E:
    """The same error, to be kept: the frames of its tracebacks hold what was worked on, megabytes of it perhaps, and
    form cycles with it that only a full collection would free.
    """
    link: BaseException | None = exc
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return exc
