"""Every request that came, so that a test can state what something costs."""

import threading
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.oss_server.objects import StorageClass
from tests.oss_server.operations import Kind, Operation

KEPT_MAX = 200_000  # requests; older ones are forgotten


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request. Of a client that broke off, what had passed until then."""

    operation: Operation | None  # None: one the server does not know
    bucket: str
    key: str
    range: str  # the header as it came
    at_s: float  # wall clock
    status: int = 0  # 0: nothing was answered
    storage_class: StorageClass | None = None  # of the object, if there is one
    object_bytes: int = 0  # its size: what a restore of an archive bills
    bytes_in: int = 0  # bodies only
    bytes_out: int = 0
    took_s: float = 0.0  # until the answer was ready to be sent

    @property
    def kind(self) -> Kind | None:
        return None if self.operation is None else self.operation.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """An object that was deleted or overwritten: whether its class's minimum days were over, the bill asks."""

    key: str
    storage_class: StorageClass
    size_bytes: int
    modified_age_s: float
    converted_age_s: float


@dataclass
class Counts:
    """For any thread. Filters: a kind, a class, patterns for the operation's name and for the key."""

    _seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    _removed: deque[Removed] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    def add_removed(self, removed: Removed) -> None:
        with self._lock:
            self._removed.append(removed)

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()
            self._removed.clear()

    def removed(self) -> list[Removed]:
        with self._lock:
            return list(self._removed)

    def seen(
        self,
        kind: Kind | None = None,
        *,
        storage_class: StorageClass | None = None,
        operation: str = "*",
        key: str = "*",
    ) -> list[Seen]:
        with self._lock:
            found = list(self._seen)
        return [
            one
            for one in found
            if kind in (None, one.kind)
            and storage_class in (None, one.storage_class)
            and fnmatchcase(str(one.operation), operation)
            and fnmatchcase(one.key, key)
        ]

    def requests(self, kind: Kind | None = None, *, storage_class: StorageClass | None = None, key: str = "*") -> int:
        return len(self.seen(kind, storage_class=storage_class, key=key))

    def bytes_in(self, kind: Kind | None = None, *, storage_class: StorageClass | None = None, key: str = "*") -> int:
        return sum(one.bytes_in for one in self.seen(kind, storage_class=storage_class, key=key))

    def bytes_out(self, kind: Kind | None = None, *, storage_class: StorageClass | None = None, key: str = "*") -> int:
        return sum(one.bytes_out for one in self.seen(kind, storage_class=storage_class, key=key))

    def table(self) -> str:
        """Requests and bytes by kind and class, for people."""
        rows: dict[tuple[str, str], list[int]] = {}
        for one in self.seen():
            name = one.storage_class.value if one.storage_class else "-"
            row = rows.setdefault((one.kind.value if one.kind else "-", name), [0, 0, 0])
            for column, amount in enumerate((1, one.bytes_in, one.bytes_out)):
                row[column] += amount
        lines = [f"{'':8} {'class':16} {'requests':>10} {'bytes in':>16} {'bytes out':>16}"]
        lines += [
            f"{kind:8} {name:16} {row[0]:>10} {row[1]:>16} {row[2]:>16}" for (kind, name), row in sorted(rows.items())
        ]
        return "\n".join(lines)
