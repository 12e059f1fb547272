"""Which operation a request asks for, and what OSS bills it as. Pure."""

from enum import Enum

from tests.oss_server import errors
from tests.oss_server.wire import Request


class Kind(Enum):
    """What is counted together. Billed at the price of PUTs: all but GET and HEAD, which have the price of GETs."""

    PUT = "PUT"
    GET = "GET"
    HEAD = "HEAD"
    LIST = "LIST"
    DELETE = "DELETE"
    COPY = "COPY"
    RESTORE = "RESTORE"
    BUCKET = "BUCKET"  # its settings

    @property
    def billed_as_put(self) -> bool:
        return self not in (Kind.GET, Kind.HEAD)


class Operation(Enum):
    LIST_BUCKETS = ("ListBuckets", Kind.LIST)
    PUT_BUCKET = ("PutBucket", Kind.BUCKET)
    DELETE_BUCKET = ("DeleteBucket", Kind.BUCKET)
    GET_BUCKET_INFO = ("GetBucketInfo", Kind.BUCKET)
    GET_BUCKET_LOCATION = ("GetBucketLocation", Kind.BUCKET)
    GET_BUCKET_STAT = ("GetBucketStat", Kind.BUCKET)
    GET_BUCKET_ACL = ("GetBucketAcl", Kind.BUCKET)
    GET_VERSIONING = ("GetBucketVersioning", Kind.BUCKET)
    PUT_VERSIONING = ("PutBucketVersioning", Kind.BUCKET)
    GET_LIFECYCLE = ("GetBucketLifecycle", Kind.BUCKET)
    PUT_LIFECYCLE = ("PutBucketLifecycle", Kind.BUCKET)
    DELETE_LIFECYCLE = ("DeleteBucketLifecycle", Kind.BUCKET)
    LIST_OBJECTS = ("ListObjects", Kind.LIST)
    LIST_VERSIONS = ("ListObjectVersions", Kind.LIST)
    LIST_UPLOADS = ("ListMultipartUploads", Kind.LIST)
    DELETE_OBJECTS = ("DeleteMultipleObjects", Kind.DELETE)
    PUT_OBJECT = ("PutObject", Kind.PUT)
    COPY_OBJECT = ("CopyObject", Kind.COPY)
    GET_OBJECT = ("GetObject", Kind.GET)
    HEAD_OBJECT = ("HeadObject", Kind.HEAD)
    GET_OBJECT_META = ("GetObjectMeta", Kind.HEAD)
    GET_OBJECT_ACL = ("GetObjectAcl", Kind.GET)
    DELETE_OBJECT = ("DeleteObject", Kind.DELETE)
    RESTORE_OBJECT = ("RestoreObject", Kind.RESTORE)
    INITIATE_UPLOAD = ("InitiateMultipartUpload", Kind.PUT)
    UPLOAD_PART = ("UploadPart", Kind.PUT)
    UPLOAD_PART_COPY = ("UploadPartCopy", Kind.COPY)
    COMPLETE_UPLOAD = ("CompleteMultipartUpload", Kind.PUT)
    ABORT_UPLOAD = ("AbortMultipartUpload", Kind.DELETE)
    LIST_PARTS = ("ListParts", Kind.LIST)

    @property
    def kind(self) -> Kind:
        return self.value[1]

    def __str__(self) -> str:
        return self.value[0]


_O = Operation
# (method, subresource) -> operation; "" is the plain one. A subresource is a query name that says what is meant.
_OF_BUCKET = {
    ("PUT", ""): _O.PUT_BUCKET,
    ("DELETE", ""): _O.DELETE_BUCKET,
    ("GET", ""): _O.LIST_OBJECTS,
    ("GET", "bucketInfo"): _O.GET_BUCKET_INFO,
    ("GET", "location"): _O.GET_BUCKET_LOCATION,
    ("GET", "stat"): _O.GET_BUCKET_STAT,
    ("GET", "acl"): _O.GET_BUCKET_ACL,
    ("GET", "versioning"): _O.GET_VERSIONING,
    ("PUT", "versioning"): _O.PUT_VERSIONING,
    ("GET", "lifecycle"): _O.GET_LIFECYCLE,
    ("PUT", "lifecycle"): _O.PUT_LIFECYCLE,
    ("DELETE", "lifecycle"): _O.DELETE_LIFECYCLE,
    ("GET", "versions"): _O.LIST_VERSIONS,
    ("GET", "uploads"): _O.LIST_UPLOADS,
    ("POST", "delete"): _O.DELETE_OBJECTS,
}
_OF_OBJECT = {
    ("PUT", ""): _O.PUT_OBJECT,
    ("GET", ""): _O.GET_OBJECT,
    ("HEAD", ""): _O.HEAD_OBJECT,
    ("HEAD", "objectMeta"): _O.GET_OBJECT_META,
    ("GET", "objectMeta"): _O.GET_OBJECT_META,
    ("GET", "acl"): _O.GET_OBJECT_ACL,
    ("DELETE", ""): _O.DELETE_OBJECT,
    ("POST", "restore"): _O.RESTORE_OBJECT,
    ("POST", "uploads"): _O.INITIATE_UPLOAD,
    ("PUT", "uploadId"): _O.UPLOAD_PART,
    ("POST", "uploadId"): _O.COMPLETE_UPLOAD,
    ("DELETE", "uploadId"): _O.ABORT_UPLOAD,
    ("GET", "uploadId"): _O.LIST_PARTS,
}
_WITH_SOURCE = {_O.PUT_OBJECT: _O.COPY_OBJECT, _O.UPLOAD_PART: _O.UPLOAD_PART_COPY}
_SUBRESOURCES = {name for _, name in (*_OF_BUCKET, *_OF_OBJECT) if name}
_NOT_DONE = {"tagging", "encryption", "policy", "cors", "website", "logging", "referer", "append", "symlink", "worm"}


def target_of(path: str) -> tuple[str, str]:
    """Bucket and key of a path-style URL: what oss2 sends to an endpoint that is an address."""
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


def operation_of(request: Request) -> Operation:
    """Raises NotImplemented, MethodNotAllowed."""
    bucket, key = target_of(request.path)
    if not bucket:
        return Operation.LIST_BUCKETS
    for name in _NOT_DONE & request.query.keys():
        raise errors.not_implemented(name)
    table = _OF_OBJECT if key else _OF_BUCKET
    subresource = next((name for name in request.query if name in _SUBRESOURCES), "")
    found = table.get((request.method, subresource))
    if found is None:
        text = "The specified method is not allowed against this resource."
        raise errors.OssError(405, "MethodNotAllowed", text, facts={"Method": request.method})
    return _WITH_SOURCE.get(found, found) if "x-oss-copy-source" in request.headers else found
