"""Who signed a request, and whether rightly: versions 1 and 4 of OSS's signatures, in headers and in the query. Pure.

Checked in this order, each with OSS's own refusal: the key id, its token, the time, the scope (V4), the signature.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import inf
from urllib.parse import quote

from tests.oss_server import errors, xml
from tests.oss_server.wire import Request

SKEW_MAX_S = 900.0  # "MaxAllowedSkewMilliseconds" of the answer
_V4 = "OSS4-HMAC-SHA256"
# fmt: off
_SIGNED_IN_V1 = {  # query names that are part of the resource in V1; also those of operations that are not here
    "acl", "append", "bucketInfo", "continuation-token", "cors", "delete", "encryption", "lifecycle", "location",
    "logging", "objectInfo", "objectMeta", "partNumber", "policy", "position", "qos", "referer", "replication",
    "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires", "restore", "security-token", "stat", "symlink", "tagging", "uploadId",
    "uploads", "versionId", "versioning", "versions", "website", "worm", "x-oss-process", "x-oss-request-payer",
    "x-oss-traffic-limit",
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What belongs to a key id. With a token it is a temporary one (STS), good until `expires_s`."""

    secret: str
    token: str = ""
    expires_s: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What a request says of its own signature."""

    version: int
    key_id: str
    signature: str
    token: str
    signed_s: float
    expires_s: float  # of a signed URL
    scope: str = ""  # V4: date/region/product/aliyun_v4_request
    date: str = ""  # as it was signed
    more_headers: tuple[str, ...] = ()


def check_signature(request: Request, keys: Mapping[str, Key], *, region: str, now_s: float) -> str:
    """The key id. Raises AccessDenied (unsigned, or an expired URL), InvalidAccessKeyId, InvalidSecurityToken,
    SecurityTokenExpired, RequestTimeTooSkewed, InvalidArgument (another region), SignatureDoesNotMatch."""
    claim = _claim_of(request)
    key = keys.get(claim.key_id)
    if key is None or (key.token and not claim.token):
        raise errors.unknown_key(claim.key_id)
    if claim.token != key.token:
        raise errors.OssError(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if now_s >= key.expires_s:
        raise errors.OssError(403, "SecurityTokenExpired", "The security token you provided has expired.")
    if now_s >= claim.expires_s:
        raise errors.access_denied("Request has expired.")
    if claim.expires_s == inf and abs(now_s - claim.signed_s) > SKEW_MAX_S:
        raise errors.skewed(request_time=claim.date, server_time=xml.iso_time(now_s))
    if claim.version == 4:
        _check_scope(claim, region)
    right = _signature_v1(request, claim, key) if claim.version == 1 else _signature_v4(request, claim, key)
    if not hmac.compare_digest(right, claim.signature):
        raise errors.wrong_signature(claim.key_id, claim.signature)
    return claim.key_id


def _claim_of(request: Request) -> _Claim:
    header, query = request.headers.get("authorization", ""), request.query
    if header.startswith(_V4 + " "):
        said = dict(part.strip().partition("=")[::2] for part in header.removeprefix(_V4).split(","))
        more = tuple(filter(None, said.get("AdditionalHeaders", "").split(";")))
        date = request.headers.get("x-oss-date", "")
        token = request.headers.get("x-oss-security-token", "")
        return _claim_v4(said.get("Credential", ""), said.get("Signature", ""), date, token, more, inf)
    if query.get("x-oss-signature-version") == _V4:
        more = tuple(filter(None, query.get("x-oss-additional-headers", "").split(";")))
        token, life_s = query.get("x-oss-security-token", ""), _number(query.get("x-oss-expires", ""))
        date, signature = query.get("x-oss-date", ""), query.get("x-oss-signature", "")
        return _claim_v4(query.get("x-oss-credential", ""), signature, date, token, more, life_s)
    if header.startswith("OSS "):
        key_id, _, signature = header.removeprefix("OSS ").partition(":")
        date = request.headers.get("x-oss-date") or request.headers.get("date", "")
        token = request.headers.get("x-oss-security-token", "")
        signed_s = _http_seconds(date)
        return _Claim(
            version=1, key_id=key_id, signature=signature, token=token, signed_s=signed_s, expires_s=inf, date=date
        )
    if "OSSAccessKeyId" in query:
        date = query.get("Expires", "")
        return _Claim(
            version=1,
            key_id=query["OSSAccessKeyId"],
            signature=query.get("Signature", ""),
            token=query.get("security-token", ""),
            signed_s=0.0,
            expires_s=_number(date),
            date=date,
        )
    raise errors.access_denied()


def _claim_v4(credential: str, signature: str, date: str, token: str, more: tuple[str, ...], life_s: float) -> _Claim:
    key_id, _, scope = credential.partition("/")
    try:
        signed_s = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise errors.access_denied("OSS authentication requires a valid Date.") from None
    return _Claim(
        version=4,
        key_id=key_id,
        signature=signature,
        token=token,
        signed_s=signed_s,
        expires_s=signed_s + life_s,
        scope=scope,
        date=date,
        more_headers=more,
    )


def _number(text: str) -> float:
    if not text.isdigit():
        raise errors.access_denied("Invalid expires in the signed URL.")
    return float(text)


def _http_seconds(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise errors.access_denied("OSS authentication requires a valid Date.") from None


def _check_scope(claim: _Claim, region: str) -> None:
    parts = claim.scope.split("/")
    text = "Invalid signing {} in Authorization header."
    if len(parts) != 4 or parts[3] != "aliyun_v4_request":
        raise errors.invalid_argument(text.format("version"))
    if parts[0] != claim.date[:8]:
        raise errors.invalid_argument(text.format("date"))
    if parts[1] != region:
        raise errors.invalid_argument(text.format("region"), ec="0002-00000226")
    if parts[2] != "oss":
        raise errors.invalid_argument(text.format("product"), ec="0002-00000227")


def _oss_headers(request: Request, more: tuple[str, ...] = ()) -> str:
    found = sorted(name for name in request.headers if name.startswith("x-oss-") or name in more)
    return "".join(f"{name}:{request.headers[name]}\n" for name in found)


def _signature_v1(request: Request, claim: _Claim, key: Key) -> str:
    names = sorted(_SIGNED_IN_V1 & request.query.keys())
    query = "&".join(f"{name}={request.query[name]}" if request.query[name] else name for name in names)
    lines = [request.method, request.headers.get("content-md5", ""), request.headers.get("content-type", "")]
    lines += [claim.date, _oss_headers(request) + request.path + ("?" + query if query else "")]
    digest = hmac.digest(key.secret.encode(), _raw("\n".join(lines)), "sha1")
    return b64encode(digest).decode()


def _signature_v4(request: Request, claim: _Claim, key: Key) -> str:
    pairs = sorted(
        (_quoted(name), _quoted(value)) for name, value in request.query.items() if name != "x-oss-signature"
    )
    more = tuple(sorted(name.lower() for name in claim.more_headers))
    canonical = [request.method, _quoted(request.path, "/")]
    canonical += ["&".join(f"{name}={value}" if value else name for name, value in pairs)]
    canonical += [_oss_headers(request, ("content-type", "content-md5", *more)), ";".join(more)]
    canonical += [request.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD")]
    digest = hashlib.sha256(_raw("\n".join(canonical))).hexdigest()
    return hmac.digest(
        _signing_key(key.secret, claim.scope), "\n".join([_V4, claim.date, claim.scope, digest]).encode(), "sha256"
    ).hex()


@lru_cache
def _signing_key(secret: str, scope: str) -> bytes:
    key = ("aliyun_v4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _quoted(text: str, safe: str = "") -> str:
    return quote(_raw(text), safe=safe)
