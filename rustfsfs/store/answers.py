"""What the bucket's answers and the network's faults mean: one of our errors, with a sentence. Pure.

The sentences quote codes and request ids, never OSS's own texts: those of signature errors repeat what was signed,
a session token among it.
"""

from dataclasses import dataclass

from rustfsfs.errors import (
    CloudRefused,
    CloudThrottled,
    CloudUnavailable,
    DamagedData,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    RustfsfsError,
)

DELAY_S_MAX = 60.0  # a bucket that says to wait longer is asked again after so long

REFUSALS = {  # OSS's code -> the sentence behind the bucket's name
    "InvalidAccessKeyId": "does not know the access key id; check the credentials",
    "SignatureDoesNotMatch": "does not accept the signature; check the access key secret and the region",
    "SecurityTokenExpired": "says that the temporary credentials have expired; renew them",
    "InvalidSecurityToken": "does not accept the security token; renew the temporary credentials",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong by more than 15 minutes; set it (timedatectl)",
    "AccessDenied": "does not allow this; have its owner allow oss:GetObject, PutObject, DeleteObject, RestoreObject"
    " and ListObjects, and to attach it GetBucketInfo and GetBucketLifecycle",
    "UserDisable": "belongs to an account that is suspended, perhaps for unpaid bills; ask its owner",
    "NoSuchBucket": "does not exist; create it, or correct its name",
    "FileImmutable": "keeps its objects from being changed (a retention policy); use a bucket without one",
    "InvalidBucketName": "has a name that OSS does not take; correct it",
}
WRONG_REGION = {"0002-00000226", "0002-00000228"}  # finer codes ("EC") of InvalidArgument; help.aliyun.com
EXISTS = {"FileAlreadyExists", "ObjectAlreadyExists"}
ARRIVED_WRONG = {"InvalidDigest", "BadDigest"}  # the bytes did not have the Content-MD5 that came with them
THROTTLES = ("Limit", "SlowDown", "Throttl", "TooManyRequests")  # parts of codes; QpsLimitExceeded, for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is no success."""

    status: int
    code: str = ""  # "": none was given, so that it may not be OSS who answers
    finer_code: str = ""
    request_id: str = ""
    delay_ms: str | None = None  # x-oss-qos-delay-time
    retry_after_s: str | None = None
    endpoint: str | None = None  # the one to use instead


def error_of(answer: Answer, *, bucket: str, key: str = "") -> RustfsfsError:
    """`key` as messages name it: relative to the volume's prefix."""
    what = f"{bucket}: {key}" if key else bucket
    told = f" ({answer.code or answer.status}{f', request {answer.request_id}' if answer.request_id else ''})"
    code, status = answer.code, answer.status
    if code == "NoSuchKey":
        return ObjectMissing(f"{what} is not in the bucket{told}")
    if code in EXISTS:
        return ObjectExists(f"{what} is in the bucket already{told}")
    if code == "InvalidObjectState":
        return ObjectFrozen(f"{what} is frozen; its restore must be asked for, and takes minutes to hours{told}")
    if code in ARRIVED_WRONG:
        return DamagedData(f"{what} did not arrive as it was sent{told}")
    if status == 416:
        return DamagedData(f"{what} is shorter than it should be{told}")
    if status == 429 or (status == 503 and (any(part in code for part in THROTTLES) or _delay_s(answer) is not None)):
        return CloudThrottled(f"{bucket} asks for fewer requests{told}", delay_s=_delay_s(answer))
    if status >= 500 or code == "RequestTimeout" or status < 400:
        return CloudUnavailable(f"{bucket} cannot answer now{told}; it is tried again later")
    if answer.endpoint and code == "AccessDenied":
        return CloudRefused(f"{bucket} is in another region; use the endpoint {answer.endpoint}{told}")
    if answer.finer_code in WRONG_REGION:
        return CloudRefused(f"{bucket} is in another region than requests are signed for; correct --region{told}")
    if not code:  # a proxy, a captive portal, a wrong port
        return CloudUnavailable(f"{bucket} is not what answers at its endpoint{told}; check endpoint and network")
    return CloudRefused(f"{bucket} {REFUSALS.get(code, 'refuses the request, which may be our fault')}{told}")


def _delay_s(answer: Answer) -> float | None:
    """How long it asks us to wait, within reason."""
    for text, unit_s in ((answer.delay_ms, 0.001), (answer.retry_after_s, 1.0)):
        if text is not None and text.isascii() and text.isdigit():
            return min(int(text) * unit_s, DELAY_S_MAX)
    return None
