"""What a bucket's owner changes after it was attached is noticed by the daily look, and told until it is undone."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from rustfsfs.tasks.sweeper import LOOK_EVERY_S
from rustfsfs.volume import attaching, ownerrules, sweeping
from rustfsfs.volume.reasons import reasons
from rustfsfs.volume.status import status
from rustfsfs.volume.volume import Volume
from tests.oss_server import Fault, OssServer, Versioning, denied
from tests.tasks.test_sweeper import passing, sweeping_on
from tests.volume.on_disk import format_in
from tests.volume.test_attaching import EXPIRES, FREEZES, bucket_file, opened, set_rule, version

MOVES = "<Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return format_in(tmp_path / "v")


async def shown(volume: Volume) -> list[dict[str, str]]:
    found = await status(volume, state="mounted", mount_point=None, pid=1)
    rules: list[dict[str, str]] = found["bucket"]["rules"]
    return rules


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        pytest.param(EXPIRES, "lifecycle rule 'tidy' (for all objects) deletes objects", id="expires"),
        pytest.param(FREEZES, "moves objects of this volume to Archive", id="freezes"),
    ],
)
async def test_a_rule_that_was_added_later_is_a_reason_until_it_is_gone(
    path: Path, oss: OssServer, rule: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
        await ownerrules.look(volume)
        assert reasons(volume) == [] and await shown(volume) == []
        set_rule(oss, rule)
        await ownerrules.look(volume)
        await ownerrules.look(volume)
        (why,) = reasons(volume)
        assert says in why and caplog.text.count(says) == 1
        assert [one["severity"] for one in await shown(volume)] == ["refuse"]
        with oss.store.lock:
            oss.store.bucket("packs").lifecycle = b""
        await ownerrules.look(volume)
        assert reasons(volume) == []


async def test_versioning_is_noticed_and_what_only_costs_is_no_reason(path: Path, oss: OssServer) -> None:
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
        set_rule(oss, MOVES, prefix="vol/packs/")
        await ownerrules.look(volume)
        assert reasons(volume) == [] and [one["severity"] for one in await shown(volume)] == ["warn"]
        version(oss)
        await ownerrules.look(volume)
        assert "versioning of the bucket is suspended" in reasons(volume)[0]
        with oss.store.lock:
            oss.store.bucket("packs").versioning = Versioning.NEVER
        await attaching.attach(volume, bucket_file(path, oss))
        assert reasons(volume) == []


async def test_who_may_not_ask_goes_by_what_was_known(path: Path, oss: OssServer) -> None:
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
        set_rule(oss, EXPIRES)
        await ownerrules.look(volume)
        oss.faults.plan(Fault(effect=denied(), count=None))
        await ownerrules.look(volume)
        assert len(reasons(volume)) == 1


async def test_the_sweeper_looks_soon_after_a_mount_and_once_a_day(
    path: Path, oss: OssServer, mock_clock: MockClock
) -> None:
    async with opened(path) as volume:
        await attaching.attach(volume, bucket_file(path, oss))
    set_rule(oss, EXPIRES)
    async with opened(path) as volume, sweeping_on(volume):
        await passing(volume, mock_clock, sweeping.FIRST_S + 2 * LOOK_EVERY_S)
        assert len(reasons(volume)) == 1
        with oss.store.lock:
            oss.store.bucket("packs").lifecycle = b""
        mock_clock.jump(sweeping.SWEEP_EVERY_S)
        await passing(volume, mock_clock, 2 * LOOK_EVERY_S)
        assert reasons(volume) == []
