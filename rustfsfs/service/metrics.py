"""The metrics: one table, from which they are served (`exposition`) and documented. Pure.

Names after Prometheus' conventions: base units, `_total` for what only grows; labels with few values each.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from rustfsfs.histogram import BOUNDS_S
from rustfsfs.units import SECOND_NS
from rustfsfs.volume.figures import Figures


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Value(NamedTuple):
    labels: tuple[str, ...]
    number: float


class Classes(NamedTuple):
    """Of a histogram."""

    labels: tuple[str, ...]
    cumulated: tuple[tuple[str, int], ...]  # (greatest of the class, how many up to it), as Prometheus wants them
    sum_s: float


class Metric(NamedTuple):
    name: str
    kind: Kind
    help: str
    values: Callable[[Figures], Iterator[Value] | Iterator[Classes]]
    labels: tuple[str, ...] = ()


def _at(path: str, divisor: int = 1) -> Callable[[Figures], Iterator[Value]]:
    """The number at a.b.c, if there is one; times in ns become seconds by `divisor`."""

    def values(figures: Figures) -> Iterator[Value]:
        found: Any = figures
        for key in path.split("."):
            found = None if found is None else found[key]
        if found is not None:
            yield Value((), found / divisor if divisor > 1 else found)

    return values


def _histogram(labels: tuple[str, ...], found: Mapping[str, Any]) -> Classes:
    total, cumulated = 0, []
    for bound, count in zip([*map(repr, BOUNDS_S), "+Inf"], found["counts"], strict=True):
        total += count
        cumulated.append((bound, total))
    return Classes(labels, tuple(cumulated), found["sum_s"])


def _histogram_at(first: str, second: str) -> Callable[[Figures], Iterator[Classes]]:
    return lambda figures: iter([_histogram((), figures[first][second])])


def _operations(figures: Figures) -> Iterator[Classes]:
    return (_histogram((name,), found) for name, found in figures["operations"]["kinds"].items())


def _errors(figures: Figures) -> Iterator[Value]:
    for name, by_errno in figures["operations"]["errors"].items():
        for errno, count in by_errno.items():
            yield Value((name, errno), count)


def _tasks(figures: Figures) -> Iterator[Value]:
    return (Value((name,), bool(error)) for name, error in figures["tasks"].items())


def _left_alone(figures: Figures) -> Iterator[Value]:
    return (Value((why,), count) for why, count in figures["left_alone"].items())


def _disks(key: str) -> Callable[[Figures], Iterator[Value]]:
    return lambda figures: (Value((disk["path"],), disk[key]) for disk in figures["disks"])


def _requests(figures: Figures) -> Iterator[Value]:
    for one in (figures["bucket"] or {}).get("requests", ()):
        yield Value((one["request"], one["class"], one["outcome"]), one["count"])


def _mount(figures: Figures) -> Iterator[Value]:
    yield Value((figures["volume"]["uuid"], figures["volume"]["path"]), 1)


COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

METRICS = (
    Metric("rustfsfs_mount_info", GAUGE, "Which volume this is; always 1.", _mount, ("uuid", "volume")),
    Metric("rustfsfs_healthy", GAUGE, "1, or 0 when a person should look: /healthz says why.", _at("healthy")),
    Metric("rustfsfs_read_only", GAUGE, "1 if nothing can be changed, wished or not.", _at("read_only")),
    Metric("rustfsfs_task_failing", GAUGE, "1 while a background task fails and is tried again.", _tasks, ("task",)),
    Metric(
        "rustfsfs_operation_seconds",
        HISTOGRAM,
        "What applications asked for, from its arrival to its answer; its count is that of the operations.",
        _operations,
        ("operation",),
    ),
    Metric(
        "rustfsfs_operation_errors_total",
        COUNTER,
        "Operations that ended in an error, by its errno. Many are everyday: ENODATA, EEXIST.",
        _errors,
        ("operation", "errno"),
    ),
    Metric(
        "rustfsfs_operations_in_progress", GAUGE, "Operations without an answer yet.", _at("operations.in_progress")
    ),
    Metric(
        "rustfsfs_operations_waiting_for_room",
        GAUGE,
        "Operations held back because the journal or the disks are nearly full.",
        _at("operations.waiting_for_room"),
    ),
    Metric(
        "rustfsfs_read_bytes_total",
        COUNTER,
        "Bytes of files handed to the kernel, whose page cache answers many reads by itself.",
        _at("operations.read_bytes"),
    ),
    Metric("rustfsfs_written_bytes_total", COUNTER, "Bytes of files written.", _at("operations.written_bytes")),
    Metric("rustfsfs_cache_hits_total", COUNTER, "Chunks found decoded in RAM.", _at("cache.hits")),
    Metric("rustfsfs_cache_misses_total", COUNTER, "Chunks that had to be decoded.", _at("cache.misses")),
    Metric("rustfsfs_cache_bytes", GAUGE, "RAM that decoded chunks take.", _at("cache.bytes")),
    Metric("rustfsfs_cache_limit_bytes", GAUGE, "RAM that they may take.", _at("cache.bytes_max")),
    Metric("rustfsfs_journal_bytes", GAUGE, "Disk space of the journal's segments.", _at("journal.bytes")),
    Metric("rustfsfs_journal_limit_bytes", GAUGE, "Beyond this, writers wait.", _at("journal.bytes_max")),
    Metric("rustfsfs_journal_segments", GAUGE, "Segments of the journal.", _at("journal.segments")),
    Metric("rustfsfs_journal_records_total", COUNTER, "Records, of the volume's whole life.", _at("journal.last_seq")),
    Metric(
        "rustfsfs_journal_appended_bytes_total", COUNTER, "Bytes of records, sealed.", _at("journal.appended_bytes")
    ),
    Metric("rustfsfs_journal_unsynced_bytes", GAUGE, "Of those, not durable yet.", _at("journal.unsynced_bytes")),
    Metric(
        "rustfsfs_journal_sync_seconds",
        HISTOGRAM,
        "How long the disk took to make records durable; one sync serves all who wait for it.",
        _histogram_at("journal", "syncs"),
    ),
    Metric("rustfsfs_commits_total", COUNTER, "COMMITs of the metadata, of the volume's life.", _at("epoch.number")),
    Metric(
        "rustfsfs_commit_timestamp_seconds", GAUGE, "When the last was, wall clock.", _at("epoch.last_ns", SECOND_NS)
    ),
    Metric("rustfsfs_uncommitted_records", GAUGE, "Records to replay after a crash now.", _at("epoch.ops")),
    Metric(
        "rustfsfs_commit_pause_seconds",
        HISTOGRAM,
        "How long a COMMIT held operations.",
        _histogram_at("epoch", "pauses"),
    ),
    Metric("rustfsfs_sealed_bytes_total", COUNTER, "Bytes of files cut, named and packed.", _at("sealed_bytes")),
    Metric("rustfsfs_hot_bytes", GAUGE, "Bytes of files in the journal, not sealed yet.", _at("hot_bytes")),
    Metric("rustfsfs_files", GAUGE, "Inodes that are no directories.", _at("files")),
    Metric("rustfsfs_directories", GAUGE, "Directories.", _at("directories")),
    Metric("rustfsfs_logical_bytes", GAUGE, "Bytes of all files, holes left out.", _at("logical_bytes")),
    Metric("rustfsfs_unique_bytes", GAUGE, "Bytes of all chunks, each counted once.", _at("unique_bytes")),
    Metric("rustfsfs_stored_bytes", GAUGE, "Bytes of their frames, all copies.", _at("stored_bytes")),
    Metric("rustfsfs_dead_bytes", GAUGE, "Bytes of the packs that nothing needs any more.", _at("dead_bytes")),
    Metric(
        "rustfsfs_dedup_ratio",
        GAUGE,
        "(logical bytes - hot bytes) / unique bytes: so many times smaller by deduplication.",
        _at("dedup_ratio"),
    ),
    Metric(
        "rustfsfs_compression_ratio",
        GAUGE,
        "Unique bytes / stored bytes: so many times smaller by compression, copies counted.",
        _at("compression_ratio"),
    ),
    Metric("rustfsfs_metadata_bytes", GAUGE, "Size of the database.", _at("metadata_bytes")),
    Metric("rustfsfs_damaged_chunks", GAUGE, "Chunks found damaged, not mended since.", _at("damaged_chunks")),
    Metric(
        "rustfsfs_scrub_verified_bytes", GAUGE, "How far the scrub that runs has come.", _at("scrub.verified_bytes")
    ),
    Metric("rustfsfs_scrub_found", GAUGE, "What the last scrub found damaged.", _at("scrub.found")),
    Metric("rustfsfs_scrub_repaired", GAUGE, "Of that, what it repaired.", _at("scrub.repaired")),
    Metric(
        "rustfsfs_scrub_end_timestamp_seconds",
        GAUGE,
        "When one last ended; 0: never.",
        _at("scrub.ended_ns", SECOND_NS),
    ),
    Metric("rustfsfs_disk_size_bytes", GAUGE, "Size of a disk's file system.", _disks("total_bytes"), ("disk",)),
    Metric("rustfsfs_disk_free_bytes", GAUGE, "Free space on it.", _disks("free_bytes"), ("disk",)),
    Metric(
        "rustfsfs_left_alone_packs",
        GAUGE,
        "Packs left alone after trouble: damaged, unreadable, unmoved or lost; status says what helps.",
        _left_alone,
        ("why",),
    ),
    Metric("rustfsfs_missing_disks", GAUGE, "Disks that are not there.", _at("missing_disks")),
    Metric(
        "rustfsfs_bucket_requests_total",
        COUNTER,
        "Requests sent to the bucket, each attempt. class: the storage class, where the request says it. outcome:"
        ' answered (also with "no such object"), throttled, failed, refused or nothing (given up).',
        _requests,
        ("request", "class", "outcome"),
    ),
    Metric("rustfsfs_bucket_usable", GAUGE, "0 when a person has to do something about it.", _at("bucket.usable")),
    Metric("rustfsfs_bucket_answers", GAUGE, "0 during an outage.", _at("bucket.answers")),
    Metric("rustfsfs_bucket_sent_bytes_total", COUNTER, "Bytes uploaded.", _at("bucket.traffic.up_bytes")),
    Metric("rustfsfs_bucket_received_bytes_total", COUNTER, "Bytes fetched.", _at("bucket.traffic.down_bytes")),
    Metric("rustfsfs_bucket_failures_total", COUNTER, "Fetches given up.", _at("bucket.traffic.failures")),
    Metric("rustfsfs_uploaded_packs_total", COUNTER, "Packs uploaded.", _at("bucket.traffic.uploaded_packs")),
    Metric(
        "rustfsfs_demoted_packs_total", COUNTER, "Packs whose local copies went.", _at("bucket.traffic.demoted_packs")
    ),
    Metric("rustfsfs_recalled_packs_total", COUNTER, "Packs that came back.", _at("bucket.traffic.recalled_packs")),
    Metric("rustfsfs_bucket_object_bytes", GAUGE, "Bytes of packs in the bucket.", _at("bucket.object_bytes")),
    Metric("rustfsfs_bucket_cold_bytes", GAUGE, "Of those, bytes that are there only.", _at("bucket.cold_bytes")),
    Metric(
        "rustfsfs_bucket_unsent_bytes",
        GAUGE,
        "Bytes of packs that are on this host only, about. With the hot bytes, and names and all that changed since"
        " rustfsfs_published_timestamp_seconds, what a fire would take.",
        _at("bucket.unsent_bytes"),
    ),
    Metric("rustfsfs_backlog_packs", GAUGE, "Packs that wait for their upload.", _at("bucket.backlog.packs")),
    Metric("rustfsfs_backlog_bytes", GAUGE, "Their bytes.", _at("bucket.backlog.bytes")),
    Metric(
        "rustfsfs_backlog_oldest_timestamp_seconds",
        GAUGE,
        "Since when the oldest waits, wall clock.",
        _at("bucket.backlog.since_ns", SECOND_NS),
    ),
    Metric(
        "rustfsfs_published_timestamp_seconds",
        GAUGE,
        "Of when the newest metadata in the bucket is; 0: not known, or none.",
        _at("bucket.published_ns", SECOND_NS),
    ),
    Metric("rustfsfs_cold_reads_waiting", GAUGE, "Reads that wait for the bucket.", _at("bucket.waiting")),
    Metric("rustfsfs_disk_cache_hits_total", COUNTER, "Cold frames found on the cache disk.", _at("bucket.cache.hits")),
    Metric("rustfsfs_disk_cache_misses_total", COUNTER, "Cold frames fetched.", _at("bucket.cache.misses")),
    Metric("rustfsfs_disk_cache_bytes", GAUGE, "What the cache disk holds.", _at("bucket.cache.bytes")),
    Metric("rustfsfs_disk_cache_limit_bytes", GAUGE, "What it may hold.", _at("bucket.cache.bytes_max")),
)
PROCESS = (  # prometheus-client's own, of the daemon
    *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds"),
    *("process_cpu_seconds_total", "process_open_fds", "process_max_fds"),
)


def table() -> list[tuple[str, str, str]]:
    """(name with its labels, kind, help) of each, for the documentation."""
    return [
        (metric.name + (f"{{{','.join(metric.labels)}}}" if metric.labels else ""), metric.kind.value, metric.help)
        for metric in METRICS
    ]
