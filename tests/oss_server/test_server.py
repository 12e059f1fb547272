"""The server as oss2 sees it."""

import oss2
import pytest

from tests.oss_server import OssServer
from tests.oss_server.client import bucket_of


def test_what_was_put_is_got(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    put = bucket.put_object("a/b c+ü", b"hello" * 1000, headers={"x-oss-storage-class": "IA"})
    got = bucket.get_object("a/b c+ü")
    assert (got.read(), got.server_crc, got.headers["x-oss-storage-class"]) == (b"hello" * 1000, put.crc, "IA")
    assert [found.key for found in oss2.ObjectIterator(bucket)] == ["a/b c+ü"]


def test_a_deleted_object_is_gone_and_deleting_twice_is_fine(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"bytes")
    assert bucket.batch_delete_objects(["key", "other"]).deleted_keys == ["key", "other"]
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("key")
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.head_object("key")


def test_create_only_puts_are_refused_once_the_name_is_taken(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    headers = {"x-oss-forbid-overwrite": "true"}
    bucket.put_object("key", b"first", headers=headers)
    with pytest.raises(oss2.exceptions.ServerError) as told:
        bucket.put_object("key", b"second", headers=headers)
    assert (told.value.status, told.value.code) == (409, "FileAlreadyExists")
    assert bucket.get_object("key").read() == b"first"
