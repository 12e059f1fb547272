"""What goes wrong, and for which requests: the script of a test. Pure; `exchange` carries it out.

    oss.faults.plan(Fault(effect=Reset(when=When.AFTER), operation="PutObject", key="packs/*", skip=2))

breaks the connection on the third PUT of a pack, when it has been executed and before the answer.
"""

import random
import threading
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from tests.oss_server import errors
from tests.oss_server.operations import Operation


class When(Enum):
    BEFORE = "the request was read and not executed"
    UPLOADING = "half of the request's body was read"
    AFTER = "the request was executed, and nothing was answered"
    DOWNLOADING = "half of the answer's body was sent"


class Effect:
    """Something that happens to an exchange. Those of all matching faults happen to it together."""


@dataclass(frozen=True, slots=True)
class Delay(Effect):
    """Nothing happens for so long, before the request is executed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang(Effect):
    """No answer until the test ends or calls `OssServer.release`; then the connection is reset. `executed`: it was."""

    executed: bool = False


@dataclass(frozen=True, slots=True)
class Refuse(Effect):
    """The answer is this error. `executed`: and yet it was done."""

    error: errors.OssError
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Reset(Effect):
    """The connection is broken off with a RST."""

    when: When


@dataclass(frozen=True, slots=True)
class Short(Effect):
    """The last bytes of the answer's body are missing. `honest`: and Content-Length says so; else the stream ends."""

    missing_bytes: int
    honest: bool = False


@dataclass(frozen=True, slots=True)
class FlipSent(Effect):
    """One bit of the answer's body is wrong (counted from its end if negative)."""

    bit: int = 0


@dataclass(frozen=True, slots=True)
class FlipReceived(Effect):
    """One bit of the request's body is wrong before the server sees it: it digests and keeps the wrong one."""

    bit: int = 0


@dataclass(frozen=True, slots=True)
class Stale(Effect):
    """A read finds what was there before the last overwrite; if there was nothing, it finds nothing."""


@dataclass(frozen=True, slots=True)
class Swap(Effect):
    """A read finds another object of the same bucket."""

    key: str


@dataclass(frozen=True, slots=True)
class IgnoreRange(Effect):
    """A GET of a range is answered 200 with the whole object, as by a proxy that knows no ranges."""


@dataclass(frozen=True, slots=True)
class Slow(Effect):
    """The bodies of this exchange pass at this rate at most."""

    bytes_s: float


@dataclass(frozen=True, slots=True)
class Headers(Effect):
    """These headers of the answer are replaced, or left out if None. ("X", "1")"""

    changed: tuple[tuple[str, str | None], ...]


def server_error(status: int = 500, *, executed: bool = False) -> Refuse:
    """500 InternalError, 502, 503 ServiceUnavailable, 504."""
    codes = {500: "InternalError", 502: "BadGateway", 503: "ServiceUnavailable", 504: "GatewayTimeout"}
    text = "Please contact the server administrator, oss@service.aliyun.com."
    return Refuse(errors.OssError(status, codes[status], text), executed)


def throttling(delay_ms: int = 0) -> Refuse:
    """503 for too many requests; the delay in `x-oss-qos-delay-time` if there is one."""
    return Refuse(errors.throttled(delay_ms))


def missing(key: str = "") -> Refuse:
    return Refuse(errors.no_such_key(key))


def denied() -> Refuse:
    return Refuse(errors.access_denied())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An effect, and the requests it meets: those that match, after `skip` that go well, `count` of them (None: all).

    operation   pattern for the names of OSS's documentation: "GetObject", "Put*"
    method      pattern for the HTTP method
    share       of those, at random (seeded by `Faults.seed`); they count as met or not, one by one
    """

    effect: Effect
    operation: str = "*"
    method: str = "*"
    bucket: str = "*"
    key: str = "*"
    skip: int = 0
    count: int | None = 1
    share: float = 1.0


@dataclass
class Faults:
    """The script as it runs. For any thread. `met` counts how often each planned fault struck."""

    seed: int = 0
    _planned: list[Fault] = field(default_factory=list)
    _seen: list[int] = field(default_factory=list)
    met: list[int] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, *faults: Fault) -> None:
        """From now on these, and no others; counts begin anew."""
        with self._lock:
            self._planned = list(faults)
            self._seen = [0] * len(faults)
            self.met = [0] * len(faults)
            self._random.seed(self.seed)

    def effects_of(self, operation: Operation | None, *, method: str, bucket: str, key: str) -> list[Effect]:
        """What happens to this request, which counts as one more."""
        name, found = str(operation or ""), []
        with self._lock:
            for index, fault in enumerate(self._planned):
                pairs = ((name, fault.operation), (method, fault.method), (bucket, fault.bucket), (key, fault.key))
                if not all(fnmatchcase(text, pattern) for text, pattern in pairs):
                    continue
                self._seen[index] += 1
                late = fault.count is not None and self.met[index] >= fault.count
                if self._seen[index] <= fault.skip or late:
                    continue
                if fault.share == 1.0 or self._random.random() < fault.share:
                    self.met[index] += 1
                    found.append(fault.effect)
        return found
