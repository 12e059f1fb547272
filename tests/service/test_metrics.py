"""The table of metrics: its names, and that what was counted becomes samples."""

import errno
import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import StoreUnavailable
from rustfsfs.histogram import BOUNDS_S
from rustfsfs.service.exposition import Exposition
from rustfsfs.service.metrics import METRICS, PROCESS, Kind, Metric, table
from rustfsfs.store.counting import Request
from rustfsfs.units import ROOT, Nanoseconds
from rustfsfs.volume import names, reading
from rustfsfs.volume.figures import Figures, figures, figures_and_space
from rustfsfs.volume.status import status
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.service.scraped import Samples, parse
from tests.store.faultbuckets import FakeTime
from tests.store.membucket import MemBucket
from tests.volume.in_memory import new_file, new_volume, put
from tests.volume.on_bucket import all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import format_in


def scraped(found: Figures) -> Samples:
    return parse(Exposition().text(found, lambda: None))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_prometheus_wants_them(metric: Metric) -> None:
    assert re.fullmatch(r"rustfsfs_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    if metric.kind is Kind.HISTOGRAM:
        assert metric.name.endswith("_seconds")
    assert metric.help.endswith(".") and "\n" not in metric.help


def test_each_name_is_there_once_and_the_table_has_all() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) == len(table())
    assert ("rustfsfs_disk_free_bytes{disk}", "gauge", "Free space on it.") in table()


async def test_what_is_served_is_what_the_table_names(tmp_path: Path) -> None:
    """With a bucket, so that all of them have a value."""
    bucket = MemBucket(now_s=FakeTime(1_800_000_000.0).timing.clock_s)
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        door = volume.tier.door
        assert door is not None
        door.requests.add(Request("put", Placement.IA.value, "answered"))
        volume.counters.failed("mkdir", 17)
        volume.health.tasks["sealer"] = ""
        volume.tier.backlog.since_s = 1e9
        await sealed(volume, b"f", bytes(range(256)) * 400)
        found = scraped(await figures_and_space(volume))
    names = {metric.name for metric in METRICS if metric.kind is not Kind.HISTOGRAM}
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            names |= {f"{metric.name}_{end}" for end in ("bucket", "count", "sum")}
    assert set(found) == names | set(PROCESS)
    assert found["rustfsfs_bucket_requests_total"] == {("IA", "answered", "put"): 1}
    assert found["rustfsfs_operation_errors_total"] == {("EEXIST", "mkdir"): 1}
    assert found["rustfsfs_backlog_oldest_timestamp_seconds"] == {(): 1e9}


async def test_without_a_bucket_nothing_is_said_of_one(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        found = scraped(figures(volume) | {"disks": [], "metadata_bytes": None})
    assert not [name for name in found if "bucket" in name and not name.endswith("_bucket")]
    assert "rustfsfs_metadata_bytes" not in found


async def test_classes_are_cumulated(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        for seconds in (0.00005, 0.00005, 0.3, 60.0):
            volume.counters.operations["read"].note(seconds)
        found = scraped(figures(volume) | {"disks": [], "metadata_bytes": None})
    classes = {le: count for (le, name), count in found["rustfsfs_operation_seconds_bucket"].items() if name == "read"}
    assert list(classes.values()) == [2, 2, 2, 2, 2, 2, 3, 3, 4]
    assert [float(le) for le in classes] == [*BOUNDS_S, float("inf")]
    assert found["rustfsfs_operation_seconds_count"][("read",)] == 4
    assert found["rustfsfs_operation_seconds_sum"][("read",)] == pytest.approx(60.3001)


async def test_caches_journal_and_sealing_count_what_was_done(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        before = scraped(await figures_and_space(volume))
        inode = new_file(volume, b"f")
        data = await put(volume, inode)
        assert await contents(volume, inode) == data
        missed = volume.cache.misses
        assert await contents(volume, inode) == data
        after = scraped(await figures_and_space(volume))
        hot = figures(volume)["hot_bytes"]
    assert missed and hot == 0

    def grown(name: str) -> float:
        return after[name][()] - before[name][()]

    assert grown("rustfsfs_sealed_bytes_total") == grown("rustfsfs_logical_bytes") == len(data)
    assert grown("rustfsfs_unique_bytes") == len(data) and grown("rustfsfs_files") == 1
    assert grown("rustfsfs_journal_appended_bytes_total") > len(data)
    assert grown("rustfsfs_journal_records_total") >= 3
    assert after["rustfsfs_journal_sync_seconds_count"][()] >= 1
    assert after["rustfsfs_disk_free_bytes"].keys() == {(str(tmp_path / "v"),)}


async def test_each_read_of_a_chunk_hits_or_misses_once(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode, 40_000)
        volume.cache.clear()
        hits, misses = volume.cache.hits, volume.cache.misses
        for _ in range(3):
            await reading.read(volume, inode, 0, 4096)
        assert (volume.cache.hits - hits, volume.cache.misses - misses) == (2, 1)


async def test_cold_reads_are_counted(tmp_path: Path) -> None:
    bucket = MemBucket(now_s=FakeTime(1_800_000_000.0).timing.clock_s)
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        data = bytes(range(256)) * 4000
        inode = await sealed(volume, b"f", data)
        await all_demoted(volume)
        assert await contents(volume, inode) == data
        found = scraped(await figures_and_space(volume))
        traffic = volume.tier.traffic
    assert found["rustfsfs_bucket_received_bytes_total"][()] == traffic.down_bytes > 0
    assert found["rustfsfs_demoted_packs_total"][()] == found["rustfsfs_uploaded_packs_total"][()] == 1
    assert found["rustfsfs_bucket_cold_bytes"][()] > 0


async def test_durations_know_nothing_of_the_wall_clock(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        before = figures(volume)
        back = replace(volume, world=replace(volume.world, now_ns=lambda: Nanoseconds(1)))
        names.create(back, ROOT, b"f", mode=0o100644, uid=0, gid=0)
        after = figures(back)
        text = scraped(after | {"disks": [], "metadata_bytes": None})
    assert after["at_s"] >= before["at_s"] and after["journal"]["last_seq"] > before["journal"]["last_seq"]
    assert text["rustfsfs_healthy"] == {(): 1}


def _volume_on(disks: dict[int, Any], volume: Volume) -> Volume:
    return replace(volume, disks=disks)


async def test_a_disk_that_hangs_or_fails_is_left_out_and_the_rest_is_told(tmp_path: Path) -> None:
    go = threading.Event()

    def hang() -> Space:
        go.wait(60)
        raise StoreUnavailable("gone")

    def fail() -> Space:
        raise StoreUnavailable("gone")

    async with new_volume(tmp_path) as volume:
        good = next(iter(volume.disks.values()))
        failing = _volume_on({1: good, 2: SimpleNamespace(path="/b", space=fail)}, volume)
        found = await figures_and_space(failing)
        assert [disk["path"] for disk in found["disks"]] == [good.path]
        assert found["reasons"] == ["a disk does not answer: gone"]
        volume.health.lost_disks.clear()
        hanging = _volume_on({1: good, 2: SimpleNamespace(path="/b", space=hang)}, volume)
        for _ in range(2):  # the second does not start another thread
            started_s = trio.current_time()
            found = await figures_and_space(hanging)
            assert found["disks"] == [] and found["healthy"]
            assert trio.current_time() - started_s < 10
        go.set()


async def test_what_is_everyday_is_no_trouble(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        for name, number in (("getxattr", errno.ENODATA), ("mkdir", errno.EEXIST), ("write", errno.ENOSPC)):
            volume.counters.failed(name, number)
        shown = (await status(volume, state="mounted", mount_point=None, pid=1))["operations"]
    assert (shown["errors"], shown["troubles"]) == (3, 1)
