"""A bucket on OSS: the one file that knows oss2, and the requests and urllib3 under it.

oss2 is imported when the first bucket is opened: it takes 150 ms. It does not try again, and neither does this file
(`retrying`). Facts about OSS and oss2 that shape it: OSS.md.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from rustfsfs.bucketfacts import BucketFacts, LifecycleRule, Placement, Versioning
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedData, ObjectMissing, RustfsfsError, StoreError
from rustfsfs.store import crc64
from rustfsfs.store.address import BucketAddress, is_loopback
from rustfsfs.store.answers import Answer, error_of
from rustfsfs.store.bodies import Body, Pace, read_exactly
from rustfsfs.store.bucket import PAGE_KEYS_MAX, PUT_SIZE_MAX, ObjectFacts, Restore
from rustfsfs.store.credentials import Credentials, CredentialSource

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    connect_s: float = 5.0  # also for a piece of a body to be taken (`bodies`)
    read_s: float = 10.0  # without a byte


class OssBucket:
    """A `Bucket`. `clock_s` is for durations, and never goes back.

    connections_max  are kept; of more threads at once each pays for a connection of its own
    """

    def __init__(
        self,
        address: BucketAddress,
        source: CredentialSource,
        *,
        clock_s: Callable[[], float],
        connections_max: int = 32,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        import oss2

        crc64.require_extension()
        # What it logs is what it signs and sends: the session token, for one
        logging.getLogger("oss2").setLevel(logging.CRITICAL)
        self._address = address
        self._timeouts = timeouts
        self._clock_s = clock_s
        session = oss2.Session(pool_size=connections_max)
        session.session.max_redirects = 0  # a signed request goes where it was meant to, or nowhere
        session.session.auth = _unchanged  # or requests would sign with what ~/.netrc says
        session.session.trust_env = not is_loopback(urlsplit(address.endpoint).hostname or "")  # no proxy to oneself
        self._bucket: Any = oss2.Bucket(
            oss2.ProviderAuthV4(_Provider(source)),
            address.endpoint,
            address.bucket,
            session=session,
            connect_timeout=(timeouts.connect_s, timeouts.read_s),
            region=address.region,
            enable_crc=False,
        )

    @property
    def name(self) -> str:
        return str(self._address)

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        return self._put(key, body, placement, {"x-oss-forbid-overwrite": "true"})

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        return self._put(key, body, Placement.STANDARD, {})

    def _put(self, key: str, body: bytes | memoryview, placement: Placement, headers: dict[str, str]) -> ObjectFacts:
        view = memoryview(body).cast("B")
        assert len(view) <= PUT_SIZE_MAX, len(view)
        ours = crc64.crc64(view)
        md5 = hashlib.md5(view, usedforsecurity=False).digest()
        headers = headers | {
            "Content-MD5": base64.b64encode(md5).decode(),
            "Content-Type": "application/octet-stream",
            "x-oss-storage-class": placement.value,
        }
        pace = self._pace(len(view))
        with self._translated(key, pace):
            data = Body(view, pace) if view else b""
            result = self._bucket.put_object(self._address.whole_key(key), data, headers=headers)
            theirs, modified_s = result.crc, _date_s(result.headers["date"])
        if theirs is None:
            raise CloudRefused(f"{self.name} gives no CRC-64, so that uploads cannot be proved; is it OSS?")
        if theirs != ours:
            raise DamagedData(f"{self.name}: {key} is not in the bucket as it was sent (CRC-64)")
        return ObjectFacts(key=key, size_bytes=len(view), crc64=ours, placement=placement, modified_s=modified_s)

    def get(self, key: str, offset: int, size: int) -> bytes:
        assert offset >= 0 and size >= 0, (offset, size)
        if not size:
            return b""
        pace = self._pace(size)
        with self._translated(key, pace):
            result = self._bucket.get_object(
                self._address.whole_key(key),
                byte_range=(offset, offset + size - 1),
                headers={"x-oss-range-behavior": "standard"},
            )
            with closing(result.resp.response) as response:
                if result.status != 206 or not _is_range(result.headers, offset, size):
                    raise DamagedData(f"{self.name}: {key} was answered with other bytes than were asked for")
                pace.begin()  # the wait for the answer has a timeout of its own
                return read_exactly(response.raw, size, pace)

    def head(self, key: str) -> ObjectFacts:
        from oss2.exceptions import NotFound

        with self._translated(key):
            try:
                result = self._bucket.head_object(self._address.whole_key(key))
            except NotFound as exc:
                if exc.code:
                    raise
                result = None  # an answer to HEAD has no body to say whether it is the object or the bucket
            if result is not None:
                return _facts_of_head(key, result)
        self._page(key, after="")  # raises if the bucket is not there
        raise ObjectMissing(f"{self.name}: {key} is not in the bucket")

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), PAGE_KEYS_MAX):
            batch = [self._address.whole_key(key) for key in keys[start : start + PAGE_KEYS_MAX]]
            with self._translated():
                deleted = self._bucket.batch_delete_objects(batch).deleted_keys
            if missed := set(batch) - set(deleted):
                raise CloudUnavailable(f"{self.name} did not delete {min(missed)}; it is tried again later")

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        more = True
        while more:
            page, more = self._page(prefix, after=after)
            yield from page
            after = page[-1].key if page else after

    def _page(self, prefix: str, *, after: str) -> tuple[tuple[ObjectFacts, ...], bool]:
        """The next objects, and whether there are more."""
        address = self._address
        with self._translated():
            result = self._bucket.list_objects_v2(
                prefix=address.whole_key(prefix),
                start_after=address.whole_key(after) if after else "",
                max_keys=PAGE_KEYS_MAX,
            )
            page = tuple(_facts_of_entry(found, address) for found in result.object_list)
            more = bool(result.is_truncated)
        if more and not page:
            raise CloudUnavailable(f"{self.name} lists nothing and says that there is more; it is tried again later")
        return page, more

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        """A copy onto itself. It keeps no metadata but what comes with it, whatever the directive says: say so too."""
        before = self.head(key)
        if before.placement is placement:
            return before
        headers = {
            "Content-Type": "application/octet-stream",
            "x-oss-metadata-directive": "REPLACE",
            "x-oss-storage-class": placement.value,
        }
        whole_key = self._address.whole_key(key)
        with self._translated(key):
            self._bucket.copy_object(self._address.bucket, whole_key, whole_key, headers=headers)
        after = self.head(key)
        if (after.size_bytes, after.crc64) != (before.size_bytes, before.crc64):
            raise DamagedData(f"{self.name}: {key} is not what it was before its class was changed")
        return after

    def restore(self, key: str, *, days: int) -> Restore:
        from oss2.exceptions import OperationNotSupported, RestoreAlreadyInProgress
        from oss2.models import RestoreConfiguration

        with self._translated(key):
            try:
                result = self._bucket.restore_object(self._address.whole_key(key), input=RestoreConfiguration(days))
            except RestoreAlreadyInProgress:
                return Restore.RUNNING
            except OperationNotSupported:  # its class does not freeze
                return Restore.NONE
            return Restore.RUNNING if result.status == 202 else Restore.READY

    def facts(self) -> BucketFacts:
        """How the bucket is set up. Raises as `Bucket`'s calls do."""
        with self._translated():
            info = self._bucket.get_bucket_info()
            return BucketFacts(
                location=info.location,
                placement=_placement(info.storage_class),
                versioning=Versioning(info.versioning_status) if info.versioning_status else Versioning.OFF,
            )

    def above(self) -> Iterator["OssBucket"]:
        """The same bucket, seen from each shorter prefix."""
        for address in self._address.above():
            seen = copy(self)
            seen._address = address
            yield seen

    def lifecycle(self) -> tuple[LifecycleRule, ...]:
        """What its owner has it do to objects by themselves."""
        from oss2.exceptions import NoSuchLifecycle

        with self._translated():
            try:
                return tuple(map(_rule, self._bucket.get_bucket_lifecycle().rules))
            except NoSuchLifecycle:
                return ()

    def server_time_s(self) -> float:
        """Since 1970, by the bucket's clock, to the second; from an error as well: a wrong clock here is one."""
        from oss2.exceptions import ServerError

        with self._translated():
            try:
                headers = self._bucket.get_bucket_info().headers
            except ServerError as exc:
                headers = exc.headers
            return _date_s(headers["date"])

    def _pace(self, size: int) -> Pace:
        return Pace(size, clock_s=self._clock_s, grace_s=self._timeouts.read_s, name=self.name)

    @contextmanager
    def _translated(self, key: str = "", pace: Pace | None = None) -> Iterator[None]:
        """Whatever oss2 and what lies under it raise becomes ours, without its texts: see `answers`.

        pace   of the request's body; errors say how much of it has passed
        """
        from oss2.exceptions import OssError, RequestError, ServerError
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        error: RustfsfsError
        try:
            yield
            return
        except RustfsfsError as exc:
            error = exc
        except ServerError as exc:
            error = error_of(_answer(exc), bucket=self.name, key=key)
        except RequestError as exc:
            error = self._unreachable(exc.exception)
        except (RequestException, HTTPError, OSError) as exc:
            error = self._unreachable(exc)
        except OssError as exc:  # ClientError: what it will not even send
            error = CloudRefused(f"{self.name}: oss2 does not send this request ({type(exc).__name__}); check its name")
        except (SyntaxError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as exc:
            # What oss2 raises at XML or headers that are none; ParseError is a SyntaxError
            error = CloudUnavailable(f"{self.name} gives answers that are not OSS's ({type(exc).__name__})")
        if pace is not None and isinstance(error, StoreError):
            error.passed_bytes = pace.passed
        raise error from None

    def _unreachable(self, exc: BaseException) -> CloudUnavailable:
        return CloudUnavailable(f"{self.name} cannot be reached at {self._address.endpoint}: {_trouble(exc)}")


@dataclass(frozen=True, slots=True)
class _SdkCredentials:
    """As oss2 wants them."""

    held: Credentials

    def get_access_key_id(self) -> str:
        return self.held.access_key_id

    def get_access_key_secret(self) -> str:
        return self.held.access_key_secret

    def get_security_token(self) -> str:
        return self.held.security_token


@dataclass(frozen=True, slots=True)
class _Provider:
    source: CredentialSource

    def get_credentials(self) -> _SdkCredentials:
        return _SdkCredentials(self.source.get())


def _unchanged(request: Any) -> Any:
    return request


def _is_range(headers: Any, offset: int, size: int) -> bool:
    found = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    length = headers.get("content-length", str(size))
    return found is not None and (int(found[1]), int(found[2])) == (offset, offset + size - 1) and length == str(size)


def _answer(exc: Any) -> Answer:
    headers = exc.headers
    return Answer(
        status=exc.status,
        code=exc.code or "",
        finer_code=exc.ec or headers.get("x-oss-ec", ""),
        request_id=exc.request_id or "",
        delay_ms=headers.get("x-oss-qos-delay-time"),
        retry_after_s=headers.get("retry-after"),
        endpoint=exc.details.get("Endpoint"),
    )


def _trouble(exc: BaseException) -> str:
    """In a few words, from the innermost cause that says something."""
    from requests import exceptions as of_requests
    from urllib3 import exceptions as of_urllib3

    names = {
        of_urllib3.NameResolutionError: "its name is not found",
        of_urllib3.ConnectTimeoutError: "no connection in time",
        of_urllib3.ReadTimeoutError: "no answer in time",
        of_urllib3.SSLError: "its certificate or its TLS is not good",
        of_urllib3.ProxyError: "the proxy does not let us through",
        of_requests.TooManyRedirects: "it sends us elsewhere; check the endpoint",
        ConnectionRefusedError: "connection refused",
        ConnectionResetError: "the connection broke",
        TimeoutError: "no answer in time",
    }
    seen: BaseException | None = exc
    words = "the connection broke"
    while seen is not None:
        words = next((text for kind, text in names.items() if isinstance(seen, kind)), words)
        inner = (getattr(seen, "reason", None), *seen.args, seen.__cause__)
        seen = next((found for found in inner if isinstance(found, Exception)), None)
    return words


def _facts_of_head(key: str, result: Any) -> ObjectFacts:
    headers = result.headers
    running = headers.get("x-oss-restore", "")
    return ObjectFacts(
        key=key,
        size_bytes=int(headers["content-length"]),
        crc64=result.server_crc,
        placement=_placement(headers.get("x-oss-storage-class", "Standard")),
        modified_s=_date_s(headers["last-modified"]),
        restore=Restore.NONE if not running else Restore.RUNNING if '"true"' in running else Restore.READY,
    )


def _facts_of_entry(found: Any, address: BucketAddress) -> ObjectFacts:
    return ObjectFacts(
        key=address.relative_key(found.key),
        size_bytes=found.size,
        crc64=None,
        placement=_placement(found.storage_class),
        modified_s=float(found.last_modified),
    )


def _placement(text: str) -> Placement:
    try:
        return Placement(text)
    except ValueError:
        raise CloudRefused(
            f"the bucket keeps objects in a storage class that rustfsfs does not know ({text})"
        ) from None


def _date_s(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def _rule(rule: Any) -> LifecycleRule:
    expiration, transitions = rule.expiration, rule.storage_transitions or []
    excluded = rule.filter.filter_not if rule.filter is not None else []
    return LifecycleRule(
        rule_id=rule.id,
        prefix=rule.prefix,
        excluded_prefixes=tuple(part.prefix for part in excluded if part.prefix and part.tag.key is None),
        enabled=rule.status == "Enabled",
        needs_tag=rule.tagging is not None and bool(rule.tagging.tag_set.tagging_rule),
        expires=expiration is not None and not expiration.expired_detete_marker,
        moves_to=tuple(_placement(found.storage_class) for found in transitions),
        ends_uploads=rule.abort_multipart_upload is not None,
    )
