"""What is asked of a bucket as a whole: to make and drop it, its settings, lists, and deletes in batches."""

import base64
import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote

from tests.oss_server import errors, xml
from tests.oss_server.listing import page_of
from tests.oss_server.object_actions import delete_one, restore_told
from tests.oss_server.objects import Bucket, StorageClass, Version, Versioning
from tests.oss_server.store import OWNER, Call, Store
from tests.oss_server.wire import Answer

KEYS_MAX = 1000  # of a list and of a batch delete; OSS.md
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z")


def answer(root: str, content: xml.Content) -> Answer:
    return Answer(status=200, headers={"Content-Type": "application/xml"}, body=xml.document(root, content))


def make_bucket(store: Store, name: str, storage_class: StorageClass, region: str = "") -> None:
    """Raises InvalidBucketName, BucketAlreadyExists (in another class)."""
    if not _NAME.match(name):
        raise errors.OssError(
            400, "InvalidBucketName", "The specified bucket is not valid.", facts={"BucketName": name}
        )
    with store.lock:
        if name in store.buckets:
            if store.buckets[name].storage_class is not storage_class:
                raise errors.OssError(409, "BucketAlreadyExists", "Cannot modify existing bucket's storage class")
            return
        bucket = Bucket(
            name=name, created_s=store.clock.now_s(), storage_class=storage_class, region=region or store.region
        )
        store.disk.make(bucket)
        store.buckets[name] = bucket


def put_bucket(store: Store, call: Call) -> Answer:
    body = call.document()
    name = "Standard"
    if body:
        name = xml.text_of(xml.parsed(body, "CreateBucketConfiguration"), "StorageClass", "Standard")
    try:
        make_bucket(store, call.bucket, StorageClass(name))
    except ValueError:
        raise errors.malformed_xml() from None
    return Answer(status=200, headers={"Location": "/" + call.bucket})


def delete_bucket(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        if bucket.versions or bucket.uploads:
            raise errors.OssError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        del store.buckets[call.bucket]
        store.disk.drop(call.bucket)
    return Answer(status=204)


def _facts_of(bucket: Bucket) -> dict[str, xml.Content]:
    return {
        "Name": bucket.name,
        "Location": f"oss-{bucket.region}",
        "Region": bucket.region,
        "CreationDate": xml.iso_time(bucket.created_s),
        "StorageClass": bucket.storage_class.value,
        "ExtranetEndpoint": f"oss-{bucket.region}.aliyuncs.com",
        "IntranetEndpoint": f"oss-{bucket.region}-internal.aliyuncs.com",
    }


def list_buckets(store: Store, call: Call) -> Answer:
    with store.lock:
        found = [_facts_of(store.buckets[name]) for name in sorted(store.buckets)]
    return answer("ListAllMyBucketsResult", {"Owner": OWNER, "IsTruncated": False, "Buckets": {"Bucket": found}})


def get_bucket_info(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        facts = _facts_of(bucket) | {
            "Owner": OWNER,
            "AccessControlList": {"Grant": "private"},
            "DataRedundancyType": "LRS",
            "AccessMonitor": "Disabled",
            "TransferAcceleration": "Disabled",
            "CrossRegionReplication": "Disabled",
        }
        if bucket.versioning is not Versioning.NEVER:
            facts["Versioning"] = bucket.versioning.value
    return answer("BucketInfo", {"Bucket": facts})


def get_bucket_location(store: Store, call: Call) -> Answer:
    with store.lock:
        return answer("LocationConstraint", f"oss-{store.bucket(call.bucket).region}")


def get_acl(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        if call.key:
            bucket.find(call.key)
    grant = "default" if call.key else "private"
    return answer("AccessControlPolicy", {"Owner": OWNER, "AccessControlList": {"Grant": grant}})


def get_bucket_stat(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        found = [version for versions in bucket.versions.values() for version in versions if not version.is_marker]
        uploads = len(bucket.uploads)
    facts: dict[str, xml.Content] = {
        "Storage": sum(version.size_bytes for version in found),
        "ObjectCount": len(found),
        "MultipartUploadCount": uploads,
    }
    return answer("BucketStat", facts)


def get_versioning(store: Store, call: Call) -> Answer:
    with store.lock:
        status = store.bucket(call.bucket).versioning.value
    return answer("VersioningConfiguration", {"Status": status} if status else {})


def put_versioning(store: Store, call: Call) -> Answer:
    status = xml.text_of(xml.parsed(call.document(), "VersioningConfiguration"), "Status")
    if status not in ("Enabled", "Suspended"):
        raise errors.malformed_xml()
    with store.lock:
        bucket = store.bucket(call.bucket)
        bucket.versioning = Versioning(status)
        store.disk.describe(bucket)
    return Answer(status=200)


def list_objects(store: Store, call: Call) -> Answer:
    """Both versions of the list: v2 has tokens, which here are the marker in base64."""
    v2 = call.query("list-type") == "2"
    marker = call.query("start-after" if v2 else "marker")
    if v2 and call.query("continuation-token"):
        marker = base64.b64decode(call.query("continuation-token")).decode("utf-8", "surrogateescape")
    prefix, delimiter, count_max = call.query("prefix"), call.query("delimiter"), keys_asked_for(call)
    written = name_writer(call)
    with store.lock:
        bucket = store.bucket(call.bucket)
        live = lambda first: (key for key in bucket.keys_from(first) if bucket.newest(key) is not None)  # noqa: E731
        page = page_of(live, prefix=prefix, marker=marker, delimiter=delimiter, count_max=count_max)
        found = [_facts_of_object(bucket.find(key), written(key), store.clock.now_s()) for key in page.keys]
    facts: dict[str, xml.Content] = {
        "Name": call.bucket,
        "Prefix": written(prefix),
        "MaxKeys": count_max,
        "Delimiter": written(delimiter),
        "IsTruncated": bool(page.next_marker),
    }
    if call.query("encoding-type"):
        facts["EncodingType"] = call.query("encoding-type")
    if v2:
        facts |= {"StartAfter": written(call.query("start-after")), "KeyCount": len(page.keys) + len(page.prefixes)}
        if page.next_marker:
            token = base64.b64encode(page.next_marker.encode("utf-8", "surrogateescape")).decode()
            facts["NextContinuationToken"] = written(token)
    else:
        facts["Marker"] = written(marker)
        if page.next_marker:
            facts["NextMarker"] = written(page.next_marker)
    facts |= {"Contents": found, "CommonPrefixes": [{"Prefix": written(shared)} for shared in page.prefixes]}
    return answer("ListBucketResult", facts)


def keys_asked_for(call: Call, name: str = "max-keys", count_max: int = KEYS_MAX) -> int:
    text = call.query(name) or "100"
    if not text.isdigit() or not 1 <= int(text) <= count_max:
        raise errors.invalid_argument(f"The {name} argument is out of range.", name, text)
    return int(text)


def name_writer(call: Call) -> Callable[[str], str]:
    """How names are written in this answer: as they are, or percent-encoded (`encoding-type=url`)."""
    if call.query("encoding-type") == "url":
        return lambda name: quote(name.encode("utf-8", "surrogateescape"), safe="")
    return str


def _facts_of_object(version: Version, name: str, now_s: float) -> dict[str, xml.Content]:
    restore = restore_told(version, now_s)
    facts: dict[str, xml.Content] = {
        "Key": name,
        "LastModified": xml.iso_time(version.modified_s),
        "ETag": f'"{version.etag}"',
        "Type": version.kind,
        "Size": version.size_bytes,
        "StorageClass": version.storage_class.value,
        "Owner": OWNER,
    }
    return facts | ({"RestoreInfo": restore} if restore else {})


def delete_objects(store: Store, call: Call) -> Answer:
    """Up to 1 000 keys at once; what is absent counts as deleted."""
    body = call.document()
    claimed, found = call.header("content-md5"), base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    if claimed != found.decode():
        raise errors.invalid_digest(claimed, found.decode())
    asked = xml.parsed(body, "Delete")
    objects = asked.findall("Object")
    if not 1 <= len(objects) <= KEYS_MAX:
        raise errors.malformed_xml()
    written = name_writer(call)
    deleted: list[xml.Content] = []
    with store.lock:
        bucket = store.bucket(call.bucket)
        for element in objects:
            key, version_id = xml.text_of(element, "Key"), xml.text_of(element, "VersionId")
            facts = delete_one(store, bucket, key, version_id)
            told: dict[str, xml.Content] = {"Key": written(key)}
            if version_id:
                told["VersionId"] = version_id
            if "x-oss-delete-marker" in facts:
                told |= {"DeleteMarker": True, "DeleteMarkerVersionId": facts["x-oss-version-id"]}
            deleted.append(told)
    if xml.text_of(asked, "Quiet") == "true":
        return Answer(status=200)
    facts_of_all: dict[str, xml.Content] = {"EncodingType": "url"} if call.query("encoding-type") == "url" else {}
    return answer("DeleteResult", facts_of_all | {"Deleted": deleted})
