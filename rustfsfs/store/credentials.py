"""Where the bucket's credentials come from: the environment, a file, or an ECS instance's RAM role (`store/imds.py`).

Their values stand in no message, no log and no repr. What expires is never given out past its time.
"""

import os
import stat
import threading
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from rustfsfs.errors import CloudRefused

KEY_ID, KEY_SECRET, SESSION_TOKEN = "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"
FILE_KEYS = {"access_key_id", "access_key_secret", "security_token", "expiration"}
FILE_SIZE_MAX = 64 * 1024  # bytes; a session token has about one KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False, default="")  # "": these are not temporary
    expires_s: float | None = None  # since 1970; None: never

    def good_at(self, now_s: float) -> bool:
        return self.expires_s is None or now_s < self.expires_s


class CredentialSource(Protocol):
    """All calls block, and may come from several threads at once."""

    def get(self) -> Credentials:
        """Credentials that have not expired. Raises CloudRefused (there are none), CloudUnavailable (try later)."""
        ...

    def refresh(self) -> None:
        """What was given out last was refused: look again. Never raises; `get` says what there is."""
        ...


class EnvironmentSource:
    """OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and, for temporary ones, OSS_SESSION_TOKEN."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def get(self) -> Credentials:
        key_id, secret = self._environment.get(KEY_ID, "").strip(), self._environment.get(KEY_SECRET, "").strip()
        if not key_id or not secret:
            missing = KEY_ID if not key_id else KEY_SECRET
            raise CloudRefused(f"there are no credentials for the bucket: {missing} is not set in the environment")
        token = self._environment.get(SESSION_TOKEN, "").strip()
        return Credentials(access_key_id=key_id, access_key_secret=secret, security_token=token)

    def refresh(self) -> None:
        pass  # it is read each time


class FileSource:
    """A TOML file of mode 0600, read again whenever it has changed.

        access_key_id = "..."
        access_key_secret = "..."
        security_token = "..."             # of temporary credentials
        expiration = 2026-12-01T12:00:00Z  # when those end; whoever renews them writes the file anew, by renaming

    `now_s` is the wall clock.
    """

    def __init__(self, path: str, *, now_s: Callable[[], float]) -> None:
        self._path = path
        self._now_s = now_s
        self._lock = threading.Lock()
        self._version: tuple[int, ...] | None = None  # of the file that `_credentials` stand in
        self._credentials: Credentials | None = None

    def __repr__(self) -> str:
        return f"FileSource({self._path!r})"

    def get(self) -> Credentials:
        with self._lock:
            credentials = self._current()
        if not credentials.good_at(self._now_s()):
            raise CloudRefused(f"the temporary credentials in {self._path} have expired; write new ones into it")
        return credentials

    def refresh(self) -> None:
        with self._lock:
            self._version = None

    def _current(self) -> Credentials:
        try:
            with open(self._path, "rb") as file:
                found = os.fstat(file.fileno())
                if stat.S_IMODE(found.st_mode) & 0o077:
                    raise CloudRefused(f"others may read the credentials file {self._path}; chmod 600 {self._path}")
                version = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
                if self._credentials is not None and version == self._version:
                    return self._credentials
                text = file.read(FILE_SIZE_MAX)
        except OSError as exc:
            raise CloudRefused(f"the credentials file {self._path} cannot be read ({exc.strerror})") from exc
        self._credentials = parse_credentials(text, self._path)
        self._version = version
        return self._credentials


def parse_credentials(text: bytes, path: str) -> Credentials:
    """Raises CloudRefused; its text quotes nothing of the file, only names of keys."""
    try:
        found = tomllib.loads(text.decode())
    except ValueError:  # its own text could quote a secret
        raise CloudRefused(
            f"the credentials file {path} is not TOML; write access_key_id = "
            '"..." and access_key_secret = "..." into it'
        ) from None
    for name, value in found.items():
        if name not in FILE_KEYS:
            raise CloudRefused(
                f"the credentials file {path} has a key {name!r}; known are {', '.join(sorted(FILE_KEYS))}"
            )
        if name != "expiration" and not (isinstance(value, str) and value.strip()):
            raise CloudRefused(f"{name} in the credentials file {path} must be text, in quotes")
    for name in ("access_key_id", "access_key_secret"):
        if name not in found:
            raise CloudRefused(f"the credentials file {path} has no {name}")
    return Credentials(
        access_key_id=found["access_key_id"].strip(),
        access_key_secret=found["access_key_secret"].strip(),
        security_token=found.get("security_token", "").strip(),
        expires_s=_expiry(found["expiration"], path) if "expiration" in found else None,
    )


def _expiry(value: object, path: str) -> float:
    try:
        return value.timestamp() if isinstance(value, datetime) and value.tzinfo else utc_seconds(str(value))
    except ValueError:
        raise CloudRefused(f"expiration in the credentials file {path} must be like 2026-12-01T12:00:00Z") from None


def utc_seconds(text: str) -> float:
    """Since 1970, of a time as STS writes it; without a zone it is UTC. Raises ValueError."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
