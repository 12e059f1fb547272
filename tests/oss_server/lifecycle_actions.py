"""A bucket's lifecycle rules, set and asked for, and applied as the clock goes on."""

from dataclasses import replace

from tests.oss_server import errors
from tests.oss_server.lifecycle import Convert, Expire, parsed_rules, plan_lifecycle
from tests.oss_server.object_actions import delete_one
from tests.oss_server.objects import DAY_S, Bucket, Versioning
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer


def put_lifecycle(store: Store, call: Call) -> Answer:
    body = call.document()
    parsed_rules(body)
    with store.lock:
        _set(store, store.bucket(call.bucket), body)
    return Answer(status=200)


def delete_lifecycle(store: Store, call: Call) -> Answer:
    with store.lock:
        _set(store, store.bucket(call.bucket), b"")
    return Answer(status=204)


def _set(store: Store, bucket: Bucket, body: bytes) -> None:
    bucket.lifecycle = body
    store.disk.describe(bucket)


def get_lifecycle(store: Store, call: Call) -> Answer:
    """As it was put."""
    with store.lock:
        body = store.bucket(call.bucket).lifecycle
    if not body:
        raise errors.OssError(404, "NoSuchLifecycle", "No Row found in Lifecycle Table.")
    return Answer(status=200, headers={"Content-Type": "application/xml"}, body=body)


def run_lifecycle_if_due(store: Store) -> None:
    """Once a day of the store's clock, as OSS does; before the first request after that."""
    if store.clock.now_s() - store.lifecycle_ran_s >= DAY_S:
        run_lifecycle(store)


def run_lifecycle(store: Store) -> None:
    """Expire and convert what is due. A transition leaves Last-Modified as it was (OSS.md)."""
    with store.lock:
        now_s = store.lifecycle_ran_s = store.clock.now_s()
        for bucket in store.buckets.values():
            for step in plan_lifecycle(bucket, parsed_rules(bucket.lifecycle), now_s=now_s):
                match step:
                    case Expire(version, is_newest):
                        keeps = is_newest and bucket.versioning is not Versioning.NEVER
                        delete_one(store, bucket, version.key, "" if keeps else version.version_id)
                    case Convert(version, storage_class):
                        changed = replace(version, storage_class=storage_class, converted_s=now_s, restore=None)
                        bucket.change(version, changed)
                        store.disk.save(bucket.name, changed)
