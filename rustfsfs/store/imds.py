"""Credentials of an ECS instance's RAM role, from its metadata service, version 2 only (IMDSv2).

A session token is asked for with a PUT first, which a program that was tricked into fetching a URL cannot send.
oss2's own provider knows version 1 alone, which hardened instances refuse.
"""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import quote

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.store.credentials import Credentials, utc_seconds

METADATA_SERVICE = "http://100.100.100.200"  # of every ECS instance
TOKEN_PATH = "/latest/api/token"
ROLES_PATH = "/latest/meta-data/ram/security-credentials/"
TOKEN_TTL_HEADER, TOKEN_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds", "X-aliyun-ecs-metadata-token"
TOKEN_TTL_S = 60  # long enough for the two requests that follow
TIMEOUT_S = 3.0  # the service is on the same host
NO_TOKENS = (403, 404, 405)  # to the PUT: it knows version 1 only, or is no metadata service
ANSWER_SIZE_MAX = 64 * 1024  # bytes; the credentials have two KiB

REFRESH_BEFORE_S = 900  # before their end new ones are looked for, while the old still serve
UNUSED_BEFORE_S = 60  # so near their end they are not given out: a request takes its time, and clocks differ
PAUSE_S = 60  # between two looks while the old ones serve


def usable(held: Credentials | None, *, now_s: float) -> bool:
    return held is not None and held.good_at(now_s + UNUSED_BEFORE_S)


def next_look_s(held: Credentials | None, *, now_s: float, failed: bool) -> float:
    """When to look for newer ones, while the held ones serve: well before their end, and not all the time."""
    if failed or held is None or held.expires_s is None:
        return now_s + PAUSE_S
    return max(now_s + PAUSE_S, held.expires_s - REFRESH_BEFORE_S)


class RamRoleSource:
    """A `CredentialSource`. `role` None: the one the instance has. `now_s` is the wall clock."""

    def __init__(self, *, now_s: Callable[[], float], role: str | None = None, service: str = METADATA_SERVICE) -> None:
        self._now_s = now_s
        self._role = role
        self._service = service
        self._looking = threading.Lock()
        self._looks = 0
        self._held: Credentials | None = None
        self._failure: CloudRefused | CloudUnavailable | None = None  # of the last look
        self._next_look_s = 0.0
        self._is_refused = False  # what is held

    def __repr__(self) -> str:
        return f"RamRoleSource({self._service!r})"

    def get(self) -> Credentials:
        held, looks, now_s = self._held, self._looks, self._now_s()
        if held is not None and usable(held, now_s=now_s) and not self._is_refused:
            if now_s < self._next_look_s or not self._looking.acquire(blocking=False):
                return held  # they are good, or somebody looks for newer ones already
        else:
            self._looking.acquire()
        try:
            if self._looks == looks:  # nobody has looked while we waited
                self._look()
            return self._found()
        finally:
            self._looking.release()

    def refresh(self) -> None:
        self._is_refused = True  # who asks meanwhile waits: the ones that are held would be refused again

    def _look(self) -> None:
        now_s = self._now_s()
        try:
            self._held, self._failure = fetch(self._service, self._role), None
        except (CloudRefused, CloudUnavailable) as exc:
            self._failure = exc
        self._looks += 1
        self._is_refused = False
        self._next_look_s = next_look_s(self._held, now_s=now_s, failed=self._failure is not None)

    def _found(self) -> Credentials:
        if self._held is not None and usable(self._held, now_s=self._now_s()):
            return self._held
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))  # one for each thread: tracebacks grow
        raise CloudRefused(
            "the credentials of the instance's RAM role have expired already; check this machine's clock"
        )


def fetch(service: str, role: str | None) -> Credentials:
    """Ask the service: a token, the role's name, its credentials. Raises CloudRefused, CloudUnavailable."""
    token = _ask(service, TOKEN_PATH, method="PUT", headers={TOKEN_TTL_HEADER: str(TOKEN_TTL_S)}).strip()
    headers = {TOKEN_HEADER: token}
    if role is None:
        role = _ask(service, ROLES_PATH, headers=headers).strip()
        if not role:
            raise CloudRefused("this instance has no RAM role; attach one to it, or use other credentials")
    return parse_role(_ask(service, ROLES_PATH + quote(role, safe=""), headers=headers))


def parse_role(text: str) -> Credentials:
    """Raises CloudUnavailable: what is no answer of this service will be one later, or something else is wrong."""
    try:
        found = json.loads(text)
        if found["Code"] != "Success":
            raise CloudUnavailable("the metadata service has no credentials of the RAM role now")
        return Credentials(
            access_key_id=str(found["AccessKeyId"]),
            access_key_secret=str(found["AccessKeySecret"]),
            security_token=str(found["SecurityToken"]),
            expires_s=utc_seconds(found["Expiration"]),
        )
    except (ValueError, KeyError, TypeError):  # their texts could quote a secret
        raise CloudUnavailable("the metadata service answered something else than credentials") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def _ask(service: str, path: str, *, headers: dict[str, str], method: str = "GET") -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)  # no proxy shall see this
    request = urllib.request.Request(service + path, headers=headers, method=method)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return str(answer.read(ANSWER_SIZE_MAX).decode())
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 404 and path.startswith(ROLES_PATH):
            raise CloudRefused(
                "this instance has no such RAM role; attach one to it, or use other credentials"
            ) from None
        if exc.code in NO_TOKENS and path == TOKEN_PATH:
            raise CloudUnavailable(
                f"the metadata service at {service} gives no tokens (it answered {exc.code}), and version 1 of it is"
                " not used; let this instance have version 2 (IMDSv2), or use other credentials"
            ) from None
        raise CloudUnavailable(
            f"the metadata service at {service} answered {exc.code}; try again, or use other credentials"
        ) from None
    except (OSError, HTTPException, ValueError) as exc:
        raise CloudUnavailable(f"no metadata service at {service} ({_reason(exc)}); is this an ECS instance?") from None


def _reason(exc: Exception) -> str:
    inner = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    return (inner.strerror if isinstance(inner, OSError) else None) or type(inner).__name__
