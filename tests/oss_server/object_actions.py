"""PUT, GET, HEAD, DELETE, copy and restore of one object: request in, answer out."""

import base64
import os
from dataclasses import replace
from urllib.parse import unquote

from tests.oss_server import errors, xml
from tests.oss_server.disk import Blob
from tests.oss_server.objects import NULL, Bucket, StorageClass, Version, Versioning, restored
from tests.oss_server.ranges import requested_range
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer, FilePart

SIZE_MAX = 5 * 1024**3  # bytes of a single PUT; OSS.md
_KEPT = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")


def put_object(store: Store, call: Call) -> Answer:
    with store.lock:
        storage_class = class_asked_for(call, store.bucket(call.bucket))
    if int(call.header("content-length") or 0) > SIZE_MAX:
        raise errors.OssError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
    blob = store.disk.receive(call.bucket, call.pieces)
    try:
        check_md5(call, blob)
        version = add_version(
            store,
            call,
            blob,
            storage_class=storage_class,
            headers=kept_headers(call),
            etag=blob.md5.hex().upper(),
        )
    except BaseException:
        store.disk.discard(blob)
        raise
    headers = _digests(version) | {"Content-MD5": base64.b64encode(blob.md5).decode()}
    return Answer(status=200, headers=headers)


def add_version(
    store: Store, call: Call, blob: Blob, *, storage_class: StorageClass, headers: dict[str, str], etag: str,
    kind: str = "Normal",
) -> Version:  # fmt: skip
    """Put what came in under its name. Raises NoSuchBucket, FileAlreadyExists, and leaves the bytes to the caller."""
    with store.lock:
        bucket = store.bucket(call.bucket)
        now_s = store.clock.now_s()
        version = Version(
            key=call.key,
            version_id=new_version_id(bucket, blob.path),
            blob=os.path.basename(blob.path),
            size_bytes=blob.size_bytes,
            crc64=blob.crc64,
            etag=etag,
            storage_class=storage_class,
            modified_s=now_s,
            converted_s=now_s,
            headers=headers,
            kind=kind,
        )
        old = bucket.newest(call.key)
        dropped = bucket.add(version, forbid_overwrite=call.header("x-oss-forbid-overwrite").lower() == "true")
        if old is not None and bucket.versioning is Versioning.NEVER:
            store.count_removed(old)
        store.disk.keep(call.bucket, blob)
        store.disk.save(call.bucket, version)
        store.disk.remove(call.bucket, dropped)
    return version


def new_version_id(bucket: Bucket, blob: str) -> str:
    if bucket.versioning is not Versioning.ENABLED:
        return NULL
    return "CAEQ" + base64.b32encode(os.path.basename(blob).zfill(20).encode()).decode().rstrip("=")


def class_asked_for(call: Call, bucket: Bucket) -> StorageClass:
    name = call.header("x-oss-storage-class")
    if not name:
        return bucket.storage_class
    try:
        return StorageClass(name)
    except ValueError:
        raise errors.invalid_argument("The storage class is invalid.", "x-oss-storage-class", name) from None


def kept_headers(call: Call) -> dict[str, str]:
    found = {name: value for name, value in call.request.headers.items() if name.startswith("x-oss-meta-")}
    found |= {name: call.header(name) for name in _KEPT if call.header(name)}
    return {"content-type": "application/octet-stream"} | found


def check_md5(call: Call, blob: Blob) -> None:
    claimed, found = call.header("content-md5"), base64.b64encode(blob.md5).decode()
    if claimed and claimed != found:
        raise errors.invalid_digest(claimed, found)


def get_object(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        version = found_version(bucket, call)
        _check_conditions(call, version)
        if version.is_frozen(store.clock.now_s()):
            raise errors.frozen(call.key)
        headers = described(version, store.clock.now_s())
        part = requested_range(
            call.header("range"),
            version.size_bytes,
            standard=call.header("x-oss-range-behavior").lower() == "standard",
        )
        fd = store.disk.open(call.bucket, version.blob)
    headers |= _overridden(call)
    if part is None:
        return Answer(status=200, headers=headers, body=FilePart(fd, 0, version.size_bytes))
    first, size_bytes = part
    headers["Content-Range"] = f"bytes {first}-{first + size_bytes - 1}/{version.size_bytes}"
    return Answer(status=206, headers=headers, body=FilePart(fd, first, size_bytes))


def _overridden(call: Call) -> dict[str, str]:
    prefix = "response-"
    return {name.removeprefix(prefix): text for name, text in call.request.query.items() if name.startswith(prefix)}


def head_object(store: Store, call: Call) -> Answer:
    with store.lock:
        version = found_version(store.bucket(call.bucket), call)
        _check_conditions(call, version)
        headers = described(version, store.clock.now_s())
    return Answer(status=200, headers=headers | {"Content-Length": str(version.size_bytes)})


def get_object_meta(store: Store, call: Call) -> Answer:
    with store.lock:
        version = found_version(store.bucket(call.bucket), call)
    headers = {"ETag": f'"{version.etag}"', "Last-Modified": xml.http_time(version.modified_s)}
    return Answer(status=200, headers=headers | {"Content-Length": str(version.size_bytes)})


def found_version(bucket: Bucket, call: Call) -> Version:
    """Raises NoSuchKey, NoSuchVersion; MethodNotAllowed for a delete marker named by its id."""
    if call.is_stale:
        if call.key not in bucket.stale:
            raise errors.no_such_key(call.key)
        return bucket.stale[call.key]
    version = bucket.find(call.key, call.query("versionId"))
    if version.is_marker:
        text = "The specified method is not allowed against this resource."
        raise errors.OssError(405, "MethodNotAllowed", text, headers={"x-oss-delete-marker": "true"})
    return version


def described(version: Version, now_s: float) -> dict[str, str]:
    """The headers of a GET or HEAD."""
    headers = _digests(version) | version.headers
    headers |= {
        "Last-Modified": xml.http_time(version.modified_s),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": version.kind,
        "x-oss-storage-class": version.storage_class.value,
    }
    restore = restore_told(version, now_s)
    return headers | ({"x-oss-restore": restore} if restore else {})


def restore_told(version: Version, now_s: float) -> str:
    """The state of a restore in OSS's words; "" if none was asked for, or its days are over."""
    if version.is_restoring(now_s):
        return 'ongoing-request="true"'
    if version.restore is None or version.is_frozen(now_s):
        return ""
    return f'ongoing-request="false", expiry-date="{xml.http_time(version.restore.until_s)}"'


def _digests(version: Version) -> dict[str, str]:
    found = {"ETag": f'"{version.etag}"', "x-oss-hash-crc64ecma": str(version.crc64)}
    return found if version.version_id == NULL else found | {"x-oss-version-id": version.version_id}


def _check_conditions(call: Call, version: Version) -> None:
    """If-Match and If-None-Match. Raises PreconditionFailed, NotModified."""
    wanted, unwanted = call.header("if-match").strip('"'), call.header("if-none-match").strip('"')
    if wanted and wanted != version.etag:
        raise errors.precondition_failed("If-Match")
    if unwanted == version.etag:
        raise errors.OssError(304, "NotModified", "Not Modified")


def delete_object(store: Store, call: Call) -> Answer:
    with store.lock:
        facts = delete_one(store, store.bucket(call.bucket), call.key, call.query("versionId"))
    return Answer(status=204, headers=facts)


def delete_one(store: Store, bucket: Bucket, key: str, version_id: str) -> dict[str, str]:
    """Remove a version, or put a marker on top, as the bucket's versioning wants. Under the store's lock."""
    if version_id or bucket.versioning is Versioning.NEVER:
        found = [old for old in bucket.versions.get(key, ()) if old.version_id == (version_id or NULL)]
        store.disk.remove(bucket.name, bucket.remove(key, version_id))
        for version in found:
            if not version.is_marker:
                store.count_removed(version)
        facts = {"x-oss-version-id": version_id} if version_id else {}
        return facts | ({"x-oss-delete-marker": "true"} if any(version.is_marker for version in found) else {})
    now_s = store.clock.now_s()
    marker = Version(
        key=key,
        version_id=new_version_id(bucket, str(store.disk.next_serial())),
        blob="",
        size_bytes=0,
        crc64=0,
        etag="",
        storage_class=bucket.storage_class,
        modified_s=now_s,
        converted_s=now_s,
    )
    store.disk.remove(bucket.name, bucket.add(marker))
    store.disk.save(bucket.name, marker)
    return {"x-oss-delete-marker": "true", "x-oss-version-id": marker.version_id}


def source_of(store: Store, call: Call) -> tuple[Bucket, Version]:
    """What `x-oss-copy-source` names. Raises NoSuchBucket, NoSuchKey, InvalidObjectState. Under the store's lock."""
    name, _, version_id = call.header("x-oss-copy-source").partition("?versionId=")
    bucket_name, _, key = unquote(name).removeprefix("/").partition("/")
    bucket = store.bucket(bucket_name)
    version = bucket.find(key, version_id)
    if version.is_frozen(store.clock.now_s()):
        raise errors.frozen(key)
    return bucket, version


def copy_object(store: Store, call: Call) -> Answer:
    """Within the server: the same bytes under another name, or in another class. Last-Modified begins anew."""
    with store.lock:
        target = store.bucket(call.bucket)
        bucket, source = source_of(store, call)
        if call.header("x-oss-copy-source-if-match").strip('"') not in ("", source.etag):
            raise errors.precondition_failed("x-oss-copy-source-If-Match")
        blob, now_s = store.disk.link(bucket.name, source.blob, target.name), store.clock.now_s()
        replaced = call.header("x-oss-metadata-directive").upper() == "REPLACE"
        version = replace(
            source,
            key=call.key,
            blob=blob,
            version_id=new_version_id(target, blob),
            storage_class=class_asked_for(call, target),
            modified_s=now_s,
            converted_s=now_s,
            restore=None,
            headers=kept_headers(call) if replaced else source.headers,
        )
        old = target.newest(call.key)
        try:
            dropped = target.add(version, forbid_overwrite=call.header("x-oss-forbid-overwrite").lower() == "true")
        except errors.OssError:
            store.disk.path(target.name, blob).unlink()
            raise
        if old is not None and target.versioning is Versioning.NEVER:
            store.count_removed(old)
        store.disk.save(target.name, version)
        store.disk.remove(target.name, dropped)
    facts = {"ETag": f'"{version.etag}"', "LastModified": xml.iso_time(now_s)}
    headers = {name: text for name, text in _digests(version).items() if name != "ETag"}
    return Answer(status=200, headers=headers | {"ETag": facts["ETag"]}, body=xml.document("CopyObjectResult", facts))


def restore_object(store: Store, call: Call) -> Answer:
    body = call.document()
    days, tier = 1, "Standard"
    if body:
        asked = xml.parsed(body, "RestoreRequest")
        days, tier = int(xml.text_of(asked, "Days", "1")), xml.text_of(asked, "JobParameters/Tier", "Standard")
    with store.lock:
        bucket = store.bucket(call.bucket)
        version = found_version(bucket, call)
        changed, status = restored(version, now_s=store.clock.now_s(), days=days, tier=tier)
        bucket.change(version, changed)
        store.disk.save(bucket.name, changed)
    return Answer(status=status, headers={"x-oss-object-restore-priority": tier} if body else {})
