"""The list of all versions of objects, and of the delete markers on top of them."""

from tests.oss_server import xml
from tests.oss_server.bucket_actions import answer, keys_asked_for, name_writer
from tests.oss_server.objects import Version
from tests.oss_server.store import OWNER, Call, Store
from tests.oss_server.wire import Answer


def list_versions(store: Store, call: Call) -> Answer:
    """By key, the newest first. Without delimiter: not asked for by anybody."""
    count_max, written, prefix = keys_asked_for(call), name_writer(call), call.query("prefix")
    key_marker, id_marker = call.query("key-marker"), call.query("version-id-marker")
    found: list[tuple[Version, bool]] = []
    with store.lock:
        bucket = store.bucket(call.bucket)
        for key in bucket.keys_from(max(prefix, key_marker)):
            if not key.startswith(prefix) or len(found) > count_max:
                break
            versions = [(one, one is bucket.versions[key][-1]) for one in reversed(bucket.versions[key])]
            if key == key_marker:
                ids = [one.version_id for one, _ in versions]
                versions = versions[ids.index(id_marker) + 1 :] if id_marker in ids else []
            found += versions
    page = found[:count_max]
    last = page[-1][0] if page else None
    facts: dict[str, xml.Content] = {
        "Name": call.bucket,
        "Prefix": written(prefix),
        "KeyMarker": written(key_marker),
        "VersionIdMarker": id_marker,
        "MaxKeys": count_max,
        "Delimiter": written(call.query("delimiter")),
        "EncodingType": call.query("encoding-type"),
        "IsTruncated": len(found) > count_max,
        "NextKeyMarker": written(last.key) if last else "",
        "NextVersionIdMarker": last.version_id if last else "",
        "DeleteMarker": [_facts_of(one, newest, written(one.key)) for one, newest in page if one.is_marker],
        "Version": [_facts_of(one, newest, written(one.key)) for one, newest in page if not one.is_marker],
    }
    return answer("ListVersionsResult", facts)


def _facts_of(version: Version, is_newest: bool, key: str) -> dict[str, xml.Content]:
    facts: dict[str, xml.Content] = {
        "Key": key,
        "VersionId": version.version_id,
        "IsLatest": is_newest,
        "LastModified": xml.iso_time(version.modified_s),
        "Owner": OWNER,
    }
    if not version.is_marker:
        facts |= {
            "ETag": f'"{version.etag}"',
            "Type": version.kind,
            "Size": version.size_bytes,
            "StorageClass": version.storage_class.value,
        }
    return facts
