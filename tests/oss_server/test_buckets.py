"""Buckets, objects, lists, copies, restores, versions and uploads, by oss2."""

import hashlib
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import oss2
import pytest

from tests.oss_server import Clock, OssServer, StorageClass, serving
from tests.oss_server.client import bucket_of, refused

FORBID = {"x-oss-forbid-overwrite": "true"}


def test_what_was_put_is_got(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    put = bucket.put_object("a/b c+ü", b"hello" * 1000, headers={"x-oss-storage-class": "IA", "x-oss-meta-of": "me"})
    got = bucket.get_object("a/b c+ü")
    assert (got.read(), got.server_crc, got.client_crc) == (b"hello" * 1000, put.crc, put.crc)
    head = bucket.head_object("a/b c+ü")
    assert (head.content_length, head.headers["x-oss-storage-class"], head.headers["x-oss-meta-of"]) == (
        5000,
        "IA",
        "me",
    )
    assert bucket.get_object_meta("a/b c+ü").etag == hashlib.md5(b"hello" * 1000).hexdigest().upper()


def test_bytes_lie_in_files_as_they_came(oss: OssServer) -> None:
    bucket_of(oss).put_object("key", b"needle")
    files = [path for path in (oss.folder / "packs").iterdir() if path.is_file()]
    assert b"needle" in [path.read_bytes() for path in files]


def test_a_deleted_object_is_gone_and_deleting_twice_is_fine(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"bytes")
    assert bucket.batch_delete_objects(["key", "other"]).deleted_keys == ["key", "other"]
    bucket.delete_object("key")
    for call in (bucket.get_object, bucket.head_object):
        with pytest.raises(oss2.exceptions.NoSuchKey):
            call("key")
    assert not bucket.object_exists("key")
    assert list((oss.folder / "packs").glob("[0-9]*")) == []


def test_create_only_puts_are_refused_once_the_name_is_taken(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"first", headers=FORBID)
    assert refused(lambda: bucket.put_object("key", b"second", headers=FORBID)) == (409, "FileAlreadyExists")
    assert bucket.get_object("key").read() == b"first"
    bucket.put_object("key", b"third")
    assert bucket.get_object("key").read() == b"third"


def test_a_wrong_md5_leaves_nothing(oss: OssServer) -> None:
    bucket, right = bucket_of(oss), b64encode(hashlib.md5(b"bytes").digest()).decode()
    bucket.put_object("good", b"bytes", headers={"Content-MD5": right})
    assert refused(lambda: bucket.put_object("bad", b"Bytes", headers={"Content-MD5": right})) == (400, "InvalidDigest")
    assert [found.key for found in oss2.ObjectIterator(bucket)] == ["good"]


def test_ranges(oss: OssServer) -> None:
    bucket, standard = bucket_of(oss), {"x-oss-range-behavior": "standard"}
    bucket.put_object("key", b"0123456789")
    part = bucket.get_object("key", byte_range=(2, 4), headers=standard)
    assert (part.status, part.read(), part.content_range) == (206, b"234", "bytes 2-4/10")
    whole = bucket.get_object("key", byte_range=(10, 12))
    assert (whole.status, whole.read()) == (200, b"0123456789")
    assert refused(lambda: bucket.get_object("key", byte_range=(10, 12), headers=standard)) == (416, "InvalidRange")


def test_an_empty_object(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    assert bucket.put_object("key", b"").crc == 0
    assert bucket.get_object("key").read() == b""


@pytest.mark.parametrize("iterator", [oss2.ObjectIterator, oss2.ObjectIteratorV2])
def test_lists(oss: OssServer, iterator: Any) -> None:
    bucket = bucket_of(oss)
    keys = ["a", "b/1", "b/2", "c d+é%/x", "z"]
    for key in keys:
        bucket.put_object(key, b"")
    assert [found.key for found in iterator(bucket, max_keys=2)] == keys
    folders = [(found.key, found.is_prefix()) for found in iterator(bucket, max_keys=1, delimiter="/")]
    assert folders == [("a", False), ("b/", True), ("c d+é%/", True), ("z", False)]
    assert [found.key for found in iterator(bucket, prefix="b/")] == ["b/1", "b/2"]


def test_names_that_url_encoding_is_for(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("\x01&<", b"")
    assert [found.key for found in oss2.ObjectIterator(bucket)] == ["\x01&<"]
    assert bucket.batch_delete_objects(["&<"]).deleted_keys == ["&<"]


def test_bucket_info_and_location(oss: OssServer) -> None:
    oss.create_bucket("cold-ones", storage_class=StorageClass.IA)
    bucket = bucket_of(oss, "cold-ones")
    info = bucket.get_bucket_info()
    assert (info.name, info.storage_class, info.location, info.versioning_status) == (
        "cold-ones",
        "IA",
        "oss-cn-test",
        None,
    )
    assert bucket.get_bucket_location().location == "oss-cn-test"
    bucket.put_object("key", b"12345")
    assert bucket.head_object("key").headers["x-oss-storage-class"] == "IA"
    assert (bucket.get_bucket_stat().object_count, bucket.get_bucket_stat().storage_size_in_bytes) == (1, 5)
    assert refused(bucket.delete_bucket) == (409, "BucketNotEmpty")
    service = oss2.Service(bucket.auth, oss.endpoint, region=oss.region)
    assert [found.name for found in service.list_buckets().buckets] == ["cold-ones", "packs"]


def test_buckets_that_are_not_there(oss: OssServer) -> None:
    oss.create_bucket("elsewhere", region="cn-other")
    assert refused(lambda: bucket_of(oss, "no-such").put_object("key", b"x")) == (404, "NoSuchBucket")
    with pytest.raises(oss2.exceptions.AccessDenied) as told:
        bucket_of(oss, "elsewhere").get_object("key")
    assert told.value.details["Endpoint"] == "oss-cn-other.aliyuncs.com"


def test_a_copy_onto_itself_changes_the_class_and_resets_last_modified(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"bytes", headers={"x-oss-meta-of": "me"})
    before = bucket.head_object("key")
    oss.clock.advance(days=3)
    bucket.copy_object("packs", "key", "key", headers={"x-oss-storage-class": "IA"})
    after = bucket.head_object("key")
    assert after.last_modified - before.last_modified in (3 * 86400, 3 * 86400 + 1)
    assert (after.headers["x-oss-storage-class"], after.headers["x-oss-meta-of"], after.etag) == (
        "IA",
        "me",
        before.etag,
    )
    bucket.copy_object("packs", "key", "other")
    bucket.delete_object("key")
    assert bucket.get_object("other").read() == b"bytes"


def test_frozen_objects_are_read_after_a_restore(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"bytes", headers={"x-oss-storage-class": "ColdArchive"})
    assert refused(lambda: bucket.get_object("key")) == (403, "InvalidObjectState")
    assert "x-oss-restore" not in bucket.head_object("key").headers
    job = oss2.models.RestoreConfiguration(days=2, job_parameters=oss2.models.RestoreJobParameters("Expedited"))
    assert bucket.restore_object("key", input=job).status == 202
    with pytest.raises(oss2.exceptions.RestoreAlreadyInProgress):
        bucket.restore_object("key", input=job)
    assert bucket.head_object("key").headers["x-oss-restore"] == 'ongoing-request="true"'
    oss.clock.advance(hours=1)
    assert bucket.restore_object("key", input=job).status == 200
    assert bucket.head_object("key").headers["x-oss-restore"].startswith('ongoing-request="false", expiry-date="')
    assert [found.restore_info[:23] for found in oss2.ObjectIterator(bucket)] == ['ongoing-request="false"']
    assert bucket.get_object("key").read() == b"bytes"
    bucket.copy_object("packs", "key", "copy", headers={"x-oss-storage-class": "ColdArchive"})
    assert refused(lambda: bucket.get_object("copy")) == (403, "InvalidObjectState")
    oss.clock.advance(days=2)
    assert refused(lambda: bucket.get_object("key")) == (403, "InvalidObjectState")


def test_versions(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"zero")
    assert bucket.get_bucket_versioning().status is None
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    assert bucket.get_bucket_info().versioning_status == "Enabled"
    one = bucket.put_object("key", b"one", headers=FORBID).versionid
    marker = bucket.delete_object("key")
    assert marker.delete_marker
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("key")
    assert bucket.get_object("key", params={"versionId": one}).read() == b"one"
    listed = bucket.list_object_versions()
    assert [found.versionid for found in listed.versions] == [one, "null"]
    assert [found.versionid for found in listed.delete_marker] == [marker.versionid]
    bucket.delete_object("key", params={"versionId": marker.versionid})
    assert bucket.get_object("key").read() == b"one"


def test_pages_of_versions(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    put = [(key, bucket.put_object(key, b"").versionid) for key in ("a", "b", "b", "b")]
    pages, marker = [], ("", "")
    while True:
        page = bucket.list_object_versions(key_marker=marker[0], versionid_marker=marker[1], max_keys=1)
        pages += [(found.key, found.versionid) for found in page.versions]
        if not page.is_truncated:
            break
        marker = (page.next_key_marker, page.next_versionid_marker)
    assert pages == [put[0], *put[:0:-1]]


def test_lifecycle_rules_are_given_back_and_applied(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    with pytest.raises(oss2.exceptions.NoSuchLifecycle):
        bucket.get_bucket_lifecycle()
    rules = [
        oss2.models.LifecycleRule("gone", "tmp/", expiration=oss2.models.LifecycleExpiration(days=7)),
        oss2.models.LifecycleRule(
            "colder",
            "packs/",
            storage_transitions=[oss2.models.StorageTransition(days=30, storage_class="Archive")],
        ),
    ]
    bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle(rules))
    assert [(rule.id, rule.prefix) for rule in bucket.get_bucket_lifecycle().rules] == [
        ("gone", "tmp/"),
        ("colder", "packs/"),
    ]
    for key in ("tmp/1", "packs/1", "other"):
        bucket.put_object(key, b"x")
    modified = bucket.head_object("packs/1").last_modified
    oss.clock.advance(days=8)
    assert [found.key for found in oss2.ObjectIterator(bucket)] == ["other", "packs/1"]
    oss.clock.advance(days=30)
    head = bucket.head_object("packs/1")
    assert (head.headers["x-oss-storage-class"], head.last_modified) == ("Archive", modified)
    bucket.delete_bucket_lifecycle()
    oss.clock.advance(days=800)
    assert bucket.object_exists("other")


def test_multipart(oss: OssServer) -> None:
    bucket, size = bucket_of(oss), 100 * 1024
    upload_id = bucket.init_multipart_upload("key", headers={"x-oss-storage-class": "IA"}).upload_id
    bodies = [b"a" * size, b"b" * size, b"end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        done = bucket.upload_part("key", upload_id, number, body)
        parts.append(oss2.models.PartInfo(number, done.etag, size=len(body), part_crc=done.crc))
    assert [part.size for part in bucket.list_parts("key", upload_id).parts] == [size, size, 3]
    assert [found.key for found in bucket.list_multipart_uploads().upload_list] == ["key"]
    bucket.complete_multipart_upload("key", upload_id, parts)  # oss2 compares the CRCs of the parts with the whole's
    got = bucket.get_object("key")
    assert (got.read(), got.object_type, got.headers["x-oss-storage-class"]) == (b"".join(bodies), "Multipart", "IA")
    assert bucket.list_multipart_uploads().upload_list == []
    assert list((oss.folder / "packs" / "incoming").iterdir()) == []


def test_an_aborted_upload_leaves_nothing(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    upload_id = bucket.init_multipart_upload("key").upload_id
    bucket.upload_part("key", upload_id, 1, b"part")
    bucket.abort_multipart_upload("key", upload_id)
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.upload_part("key", upload_id, 2, b"part")
    assert list((oss.folder / "packs" / "incoming").iterdir()) == []


def test_a_body_of_unknown_length(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", iter([b"one", b"two"]))
    assert bucket.get_object("key").read() == b"onetwo"


def test_what_is_not_done_says_so(oss: OssServer) -> None:
    assert refused(bucket_of(oss).get_bucket_encryption) == (400, "NotImplemented")


def test_a_later_server_finds_what_an_earlier_one_left(tmp_path: Path) -> None:
    with serving(tmp_path, clock=Clock()) as first:
        bucket = bucket_of(first)
        bucket.put_object("key", b"old")
        bucket.put_object("key", b"new", headers={"x-oss-storage-class": "IA"})
        bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Suspended"))
    with serving(tmp_path) as second:
        bucket = bucket_of(second)
        assert (bucket.get_object("key").read(), bucket.get_bucket_versioning().status) == (b"new", "Suspended")
        bucket.put_object("other", b"more")
        assert Counter(found.storage_class for found in oss2.ObjectIterator(bucket)) == {"IA": 1, "Standard": 1}
