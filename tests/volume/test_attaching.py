"""Attaching a bucket of the test server: what is asked, what is refused, and that refusing changes nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest
import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket, Cache, Config
from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    InUse,
    JournalFailed,
    MachineTrouble,
    ReadOnlyVolume,
    RustfsfsError,
    UsageError,
)
from rustfsfs.meta import chunks
from rustfsfs.store.address import parse_address
from rustfsfs.store.cold import pack_key
from rustfsfs.volume import attaching, bucketcheck, collecting, commands, publishing, recording
from rustfsfs.volume.bucketcheck import Candidate
from rustfsfs.volume.bucketfile import BucketFile, read_bucket_file
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.oss_server import Fault, IgnoreRange, OssServer, Outage, StorageClass, Versioning, denied, server_error
from tests.oss_server.client import bucket_of
from tests.store.membucket import MemBucket
from tests.volume.on_disk import Key, format_in, write_file

DEFAULTS = Config()
PROBES = "vol/meta/probe-*"
EXPIRES = "<Expiration><Days>1</Days></Expiration>"
FREEZES = "<Transition><Days>30</Days><StorageClass>Archive</StorageClass></Transition>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return format_in(tmp_path / "v")


@asynccontextmanager
async def opened(path: Path, config: Config = DEFAULTS) -> AsyncIterator[Volume]:
    try:
        async with opened_volume(real_world(), Opening(path=str(path), secret=Key(), config=config)) as volume:
            (path / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests
            yield volume
    finally:
        (path / "ballast").unlink(missing_ok=True)


def credentials(path: Path, oss: OssServer) -> str:
    file = path.parent / "credentials.toml"
    file.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
    file.chmod(0o600)
    return str(file)


def bucket_file(path: Path, oss: OssServer, *, url: str = "oss://packs/vol", region: str = "") -> BucketFile:
    address = parse_address(url, endpoint=oss.endpoint, region=region or oss.region)
    return BucketFile(address=address, credentials=credentials(path, oss))


def keys_in(oss: OssServer, bucket: str = "packs") -> list[str]:
    return [found.key for found in bucket_of(oss, bucket).list_objects_v2(max_keys=1000).object_list]


def headers_in(oss: OssServer) -> list[str]:
    """Without the copies of the metadata that an unmount leaves there."""
    return [key for key in keys_in(oss) if key.endswith("header")]


def set_rule(oss: OssServer, what: str, prefix: str = "") -> None:
    body = f"<Rule><ID>tidy</ID><Prefix>{prefix}</Prefix><Status>Enabled</Status>{what}</Rule>"
    with oss.store.lock:
        oss.store.bucket("packs").lifecycle = f"<LifecycleConfiguration>{body}</LifecycleConfiguration>".encode()


def version(oss: OssServer) -> None:
    oss.store.bucket("packs").versioning = Versioning.SUSPENDED


async def test_a_bucket_is_attached_and_there_when_the_volume_is_opened_again(path: Path, oss: OssServer) -> None:
    file = bucket_file(path, oss)
    async with opened(path) as volume:
        wish = volume.wishes.tier
        done = await attaching.attach(volume, file)
        assert wish.is_set() and volume.activity.committed_seq == volume.metadata.running.last_seq
        assert done == attaching.Attached(name="oss://packs/vol", is_new=True, warnings=[])
        assert volume.metadata.is_tiered and volume.tier.door is not None and volume.tier.files is not None
        assert read_bucket_file(volume.world.files, volume.path) == file
        assert keys_in(oss) == ["vol/meta/header"]
    assert oss.path_of("vol/meta/header").read_bytes() == (path / "header").read_bytes()
    async with opened(path) as volume:
        assert volume.tier.door is not None and volume.tier.trouble is None
        again = await attaching.attach(volume, file)
        assert not again.is_new
    assert headers_in(oss) == ["vol/meta/header"]


async def test_the_header_in_the_bucket_follows_the_volumes_keys(path: Path, oss: OssServer) -> None:
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
    spoilt = bytearray((path / "header").read_bytes())
    spoilt[-1] ^= 1  # in the last key slot
    bucket_of(oss).put_object("vol/meta/header", bytes(spoilt))
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
        await publishing.publish(volume)
        assert oss.path_of("vol/meta/header").read_bytes() == (path / "header").read_bytes()


async def test_a_header_that_was_changed_is_nobodys(path: Path, oss: OssServer) -> None:
    spoilt = bytearray((path / "header").read_bytes())
    spoilt[100] ^= 1
    bucket_of(oss).put_object("vol/meta/header", bytes(spoilt))
    async with opened(path) as volume:
        with pytest.raises(InUse, match="something else than this volume"):
            await attaching.attach(volume, bucket_file(path, oss))


def put(key: str) -> Callable[[OssServer], None]:
    return lambda oss: bucket_of(oss).put_object(key, b"mine") and None


@pytest.mark.parametrize(
    ("spoil", "kind", "says"),
    [
        pytest.param(version, CloudRefused, "versioning", id="versioning"),
        pytest.param(lambda oss: set_rule(oss, EXPIRES), CloudRefused, "deletes objects", id="a rule expires packs"),
        pytest.param(lambda oss: set_rule(oss, FREEZES), CloudRefused, "Archive", id="a rule freezes packs"),
        pytest.param(put("vol/mine.txt"), InUse, "not empty (mine.txt)", id="somebody else's objects"),
        pytest.param(put("vol/meta/header"), InUse, "not empty (meta/header)", id="a header that is none"),
        pytest.param(lambda oss: setattr(oss.clock, "skew_s", 7200.0), CloudRefused, "clock", id="the clock is wrong"),
        pytest.param(lambda oss: oss.keys.clear(), CloudRefused, "access key id", id="an unknown key"),
        pytest.param(lambda oss: oss.begin_outage(Outage.REFUSE), CloudUnavailable, "refused", id="nobody answers"),
    ],
)
async def test_what_is_refused_changes_nothing(
    path: Path, oss: OssServer, spoil: Callable[[OssServer], None], kind: type[RustfsfsError], says: str
) -> None:
    spoil(oss)
    with oss.store.lock:
        before = [version.key for versions in oss.store.bucket("packs").versions.values() for version in versions]
    async with opened(path) as volume:
        seq = volume.metadata.running.last_seq
        with pytest.raises(kind) as told:
            await attaching.attach(volume, bucket_file(path, oss))
        assert says in str(told.value) and oss.secret not in str(told.value)
        assert volume.metadata.running.last_seq == seq and not volume.metadata.is_tiered and volume.tier.door is None
    assert not (path / "bucket.toml").exists()
    with oss.store.lock:
        after = [version.key for versions in oss.store.bucket("packs").versions.values() for version in versions]
    assert after == before


async def test_another_volumes_prefix_is_refused_and_stays_its(tmp_path: Path, path: Path, oss: OssServer) -> None:
    other = format_in(tmp_path / "other")
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
        uuid = volume.header.uuid.hex()
    async with opened(other) as volume:
        with pytest.raises(InUse, match="holds another volume") as told:
            await attaching.attach(volume, bucket_file(other, oss))
        assert uuid in str(told.value).replace("-", "")
        await attaching.attach(volume, bucket_file(other, oss, url="oss://packs/vol2"))
    assert headers_in(oss) == ["vol/meta/header", "vol2/meta/header"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param(Fault(effect=denied(), operation="PutObject", key=PROBES), "oss:GetObject", id="may not write"),
        pytest.param(Fault(effect=denied(), operation="GetBucketLifecycle"), "GetBucketLifecycle", id="may not ask"),
        pytest.param(Fault(effect=server_error(), operation="HeadObject", key=PROBES), "cannot answer", id="fails"),
        pytest.param(
            Fault(effect=IgnoreRange(), operation="GetObject", key=PROBES), "other bytes", id="a proxy without ranges"
        ),
    ],
)
async def test_a_probe_that_fails_leaves_nothing_behind(path: Path, oss: OssServer, fault: Fault, says: str) -> None:
    oss.faults.plan(fault)
    async with opened(path) as volume:
        with pytest.raises(RustfsfsError, match=says):
            await attaching.attach(volume, bucket_file(path, oss))
    assert oss.faults.met == [1]
    assert keys_in(oss) == [] and not (path / "bucket.toml").exists()


async def test_a_bucket_whose_class_freezes_is_warned_about(path: Path, oss: OssServer) -> None:
    oss.create_bucket("icy", storage_class=StorageClass.ARCHIVE)
    async with opened(path) as volume:
        done = await attaching.attach(volume, bucket_file(path, oss, url="oss://icy/vol"))
        assert ["the bucket's own class is Archive" in text for text in done.warnings] == [True]


async def test_the_probe_is_of_the_class_that_packs_will_have(path: Path, oss: OssServer) -> None:
    oss.faults.plan(Fault(effect=denied(), operation="DeleteMultipleObjects"))
    config = Config(bucket=Bucket(placement=Placement.IA))
    async with opened(path, config) as volume:
        with pytest.raises(CloudRefused):
            await attaching.attach(volume, bucket_file(path, oss), placement=Placement.IA)
    found = bucket_of(oss).list_objects_v2(prefix="vol/meta/probe-").object_list
    assert [one.storage_class for one in found] == ["IA"]
    oss.faults.plan()
    async with opened(path, config) as volume:
        await attaching.attach(volume, bucket_file(path, oss))  # what was left of the first attempt is nobody's


@pytest.mark.parametrize(
    ("config", "placement", "kind", "says"),
    [
        pytest.param(Config(cache=Cache(disk_bytes=1 << 60)), None, MachineTrouble, "cache.disk", id="no room"),
        pytest.param(Config(), Placement.IA, UsageError, "bucket.class is Standard", id="another class"),
    ],
)
async def test_what_the_settings_contradict_is_refused_before_the_bucket_is_asked(
    path: Path, oss: OssServer, config: Config, placement: Placement | None, kind: type[RustfsfsError], says: str
) -> None:
    async with opened(path, config) as volume:
        with pytest.raises(kind, match=says):
            await attaching.attach(volume, bucket_file(path, oss), placement=placement)
    assert oss.counts.requests() == 0


async def test_the_volumes_packs_are_looked_for_before_it_takes_another_bucket(path: Path, oss: OssServer) -> None:
    oss.create_bucket("copy")
    async with opened(path) as volume:
        await write_file(volume, b"f", b"some text " * 1000)
        await commands.seal(volume, {}, collecting.no_progress)
        await attaching.attach(volume, bucket_file(path, oss))
        await attaching.attach(volume, bucket_file(path, oss, url="oss://copy/vol"))  # nothing is in either yet
        await attaching.attach(volume, bucket_file(path, oss))
        (pack,) = chunks.packs(volume.metadata)
        key, body = pack_key(pack.pack, pack.disk), b"of the test"
        recording.record(volume, uploaded(pack.pack, pack.disk, len(body)))
        with pytest.raises(InUse, match="does not have what this volume put"):
            await attaching.attach(volume, bucket_file(path, oss, url="oss://copy/vol"))
        assert volume.tier.door is not None and volume.tier.door.name == "oss://packs/vol"
        bucket_of(oss, "copy").put_object(f"vol/{key}", body)
        await attaching.attach(volume, bucket_file(path, oss, url="oss://copy/vol"))
        assert volume.tier.door.name == "oss://copy/vol"


async def test_packs_that_are_uploaded_meanwhile_keep_the_volume_where_they_are(path: Path, oss: OssServer) -> None:
    oss.create_bucket("other")
    async with opened(path) as volume:
        await write_file(volume, b"f", b"some text " * 1000)
        await commands.seal(volume, {}, collecting.no_progress)
        await attaching.attach(volume, bucket_file(path, oss))
        (pack,) = chunks.packs(volume.metadata)
        with pytest.raises(InUse, match="meanwhile; try again"), ungrouped():
            async with trio.open_nursery() as nursery, volume.tier.lock:
                nursery.start_soon(attaching.attach, volume, bucket_file(path, oss, url="oss://other/vol"))
                while not volume.tier.lock.statistics().tasks_waiting:
                    await trio.sleep(0.001)
                recording.record(volume, uploaded(pack.pack, pack.disk, 1))
        assert volume.tier.door is not None and volume.tier.door.name == "oss://packs/vol"
        assert "oss://packs/vol" in (path / "bucket.toml").read_text()


def uploaded(pack: int, disk: int, size_bytes: int) -> ops.Uploaded:
    return ops.Uploaded(pack=pack, disk=disk, size_bytes=size_bytes, crc64=bytes(8), placement="Standard", put_s=1)


async def test_an_op_that_fails_takes_bucket_toml_back(
    path: Path, oss: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise JournalFailed("the disk is gone")

    async with opened(path) as volume:
        with monkeypatch.context() as patched:
            patched.setattr(attaching, "record", fail)
            with pytest.raises(JournalFailed):
                await attaching.attach(volume, bucket_file(path, oss))
        assert not (path / "bucket.toml").exists() and volume.tier.door is None
        await attaching.attach(volume, bucket_file(path, oss))


async def test_a_volume_that_can_only_be_read_attaches_nothing(path: Path, oss: OssServer) -> None:
    async with opened(path) as volume:
        volume.health.read_only_reason = "a test"
        with pytest.raises(ReadOnlyVolume):
            await attaching.attach(volume, bucket_file(path, oss))
        volume.health.read_only_reason = None


async def test_while_packs_are_uploaded_the_door_stays(path: Path, oss: OssServer) -> None:
    seen: list[str] = []
    async with opened(path) as volume, trio.open_nursery() as nursery:
        attach = partial(attaching.attach, progress=lambda _done, _total, text: seen.append(text))
        async with volume.tier.lock:
            nursery.start_soon(attach, volume, bucket_file(path, oss))
            while not volume.tier.lock.statistics().tasks_waiting:
                await trio.sleep(0.001)
            assert volume.tier.door is None and "waiting" in seen[-1]


@pytest.mark.parametrize(("is_elsewhere", "is_enough"), [(False, True), (True, False)])
def test_all_packs_must_have_been_copied_to_another_place(is_elsewhere: bool, is_enough: bool) -> None:
    bucket = MemBucket()
    bucket.put("packs/1", b"here", placement=Placement.STANDARD)
    one = Candidate(
        address=parse_address("oss://packs/p", endpoint="http://127.0.0.1:1", region="cn-test"),
        placement=Placement.STANDARD,
        uuid=bytes(16),
        header=b"",
        objects=(("packs/1", 4), ("packs/2", 4)),
        is_elsewhere=is_elsewhere,
    )
    with nullcontext() if is_enough else pytest.raises(InUse, match="does not have what"):
        bucketcheck.check_packs(bucket, one)
