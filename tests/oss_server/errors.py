"""The answers of OSS to a request it refuses: status, code, message, and its finer code ("EC") where it is known."""

from dataclasses import dataclass, field


@dataclass
class OssError(Exception):
    """A refusal. `facts` become further elements of the XML, `headers` go with the answer."""

    status: int
    code: str
    message: str
    ec: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def no_such_bucket(bucket: str) -> OssError:
    text = "The specified bucket does not exist."
    return OssError(404, "NoSuchBucket", text, "0015-00000101", {"BucketName": bucket})


def no_such_key(key: str) -> OssError:
    return OssError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", {"Key": key})


def no_such_version(key: str, version_id: str) -> OssError:
    facts = {"Key": key, "VersionId": version_id}
    return OssError(404, "NoSuchVersion", "The specified version does not exist.", facts=facts)


def no_such_upload(upload_id: str) -> OssError:
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted."
    return OssError(404, "NoSuchUpload", text, facts={"UploadId": upload_id})


def exists_already() -> OssError:
    return OssError(409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.")


def frozen(key: str) -> OssError:
    text = "The operation is not valid for the object's state"
    return OssError(403, "InvalidObjectState", text, facts={"ObjectName": key})


def restoring(key: str) -> OssError:
    return OssError(409, "RestoreAlreadyInProgress", "The restore operation is in progress.", facts={"ObjectName": key})


def not_supported() -> OssError:
    return OssError(400, "OperationNotSupported", "The operation is not supported for this resource")


def invalid_argument(message: str, name: str = "", value: str = "", ec: str = "") -> OssError:
    facts = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return OssError(400, "InvalidArgument", message, ec, facts)


def malformed_xml() -> OssError:
    text = "The XML you provided was not well-formed or did not validate against our published schema."
    return OssError(400, "MalformedXML", text)


def invalid_digest(claimed: str, found: str) -> OssError:
    text = "The Content-MD5 you specified was invalid."
    return OssError(400, "InvalidDigest", text, facts={"Content-MD5": claimed, "FoundMD5": found})


def invalid_range() -> OssError:
    return OssError(416, "InvalidRange", "The requested range cannot be satisfied")


def precondition_failed(name: str) -> OssError:
    text = "At least one of the pre-conditions you specified did not hold."
    return OssError(412, "PreconditionFailed", text, facts={"Condition": name})


def not_implemented(what: str) -> OssError:
    return OssError(
        400,
        "NotImplemented",
        "A header or query you provided implies functionality that is not implemented.",
        facts={"Header": what},
    )


def access_denied(message: str = "You have no right to access this object because of bucket acl.") -> OssError:
    return OssError(403, "AccessDenied", message, "0003-00000001")


def unknown_key(key_id: str) -> OssError:
    text = "The OSS Access Key Id you provided does not exist in our records."
    return OssError(403, "InvalidAccessKeyId", text, "0002-00000902", {"OSSAccessKeyId": key_id})


def wrong_signature(key_id: str, signature: str) -> OssError:
    text = "The request signature we calculated does not match the signature you provided. "
    text += "Check your key and signing method."
    facts = {"OSSAccessKeyId": key_id, "SignatureProvided": signature}
    return OssError(403, "SignatureDoesNotMatch", text, "0002-00000040", facts)


def skewed(*, request_time: str, server_time: str) -> OssError:
    text = "The difference between the request time and the current time is too large."
    facts = {"MaxAllowedSkewMilliseconds": "900000", "RequestTime": request_time, "ServerTime": server_time}
    return OssError(403, "RequestTimeTooSkewed", text, facts=facts)


def internal_error() -> OssError:
    return OssError(500, "InternalError", "We encountered an internal error. Please try again.")


def throttled(delay_ms: int) -> OssError:
    text = "Request was denied due to request throttling: total QPS limit exceeded."
    return OssError(503, "TotalQpsLimitExceeded", text, headers={"x-oss-qos-delay-time": str(delay_ms)})
