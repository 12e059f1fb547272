"""A mount under load, watched: top, metrics and status agree with each other and with what was done."""

import contextlib
import errno
import json
import mmap
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import wait_for
from tests.service.scraped import Samples, parse
from tests.watched import WatchedMount

pytestmark = [pytest.mark.fuse, pytest.mark.slow]
WORKERS, FILES, BLOCK, BLOCKS = 4, 25, 64 * 1024, 4
COUNTED = ("create", "write", "read", "mkdir", "unlink", "rename", "fsync", "rmdir")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedMount]:
    volume = WatchedMount(tmp_path)
    volume.format()
    try:
        yield volume
    finally:
        volume.clean_up()


def page(watched: WatchedMount, path: str) -> tuple[int, bytes]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(watched.socket))
        client.sendall(b"GET %s HTTP/1.1\r\n\r\n" % path.encode())
        with client.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def scrape(watched: WatchedMount) -> Samples:
    status, body = page(watched, "/metrics")
    assert status == 200
    return parse(body)


def work(folder: Path, done: Counter[str]) -> None:
    """Operations each of which the kernel has to ask for, counted."""
    folder.mkdir()
    done["mkdir"] += 1
    block = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT wants it
    for number in range(FILES):
        block[:] = os.urandom(BLOCK)
        fd = os.open(folder / f"f{number}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_DIRECT)
        done["create"] += 1
        for index in range(BLOCKS):
            assert os.pwrite(fd, block, index * BLOCK) == BLOCK
            done["write"] += 1
        os.fsync(fd)
        done["fsync"] += 1
        for index in range(BLOCKS):
            assert os.preadv(fd, [block], index * BLOCK) == BLOCK
            done["read"] += 1
        os.close(fd)
        os.rename(folder / f"f{number}", folder / f"g{number}")
        done["rename"] += 1
        if number % 5 == 0:
            with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
                folder.rmdir()
            done["rmdir"] += 1
            done["ENOTEMPTY"] += 1
            os.unlink(folder / f"g{number}")
            done["unlink"] += 1


def of_top(found: dict[str, Any]) -> dict[str, float]:
    operations = found["operations"]
    counts = {name: sum(kind["counts"]) for name, kind in operations["kinds"].items()}
    errors = {f"{name} {code}": count for name, by in operations["errors"].items() for code, count in by.items()}
    return (
        counts
        | errors
        | {
            "read_bytes": operations["read_bytes"],
            "written_bytes": operations["written_bytes"],
            "hits": found["cache"]["hits"],
            "misses": found["cache"]["misses"],
            "records": found["journal"]["last_seq"],
            "appended": found["journal"]["appended_bytes"],
            "syncs": sum(found["journal"]["syncs"]["counts"]),
            "commits": found["epoch"]["number"],
            "sealed": found["sealed_bytes"],
        }
    )


def of_metrics(found: Samples) -> dict[str, float]:
    counts = {name: count for (name,), count in found["rustfsfs_operation_seconds_count"].items()}
    errors = {f"{name} {code}": n for (code, name), n in found.get("rustfsfs_operation_errors_total", {}).items()}
    single = {
        "read_bytes": "rustfsfs_read_bytes_total",
        "written_bytes": "rustfsfs_written_bytes_total",
        "hits": "rustfsfs_cache_hits_total",
        "misses": "rustfsfs_cache_misses_total",
        "records": "rustfsfs_journal_records_total",
        "appended": "rustfsfs_journal_appended_bytes_total",
        "syncs": "rustfsfs_journal_sync_seconds_count",
        "commits": "rustfsfs_commits_total",
        "sealed": "rustfsfs_sealed_bytes_total",
    }
    return counts | errors | {key: found[name][()] for key, name in single.items()}


def test_under_load_all_agree_with_each_other_and_with_what_was_done(watched: WatchedMount) -> None:
    watched.mount()
    before = of_top(watched.call("top"))
    done: list[Counter[str]] = [Counter() for _ in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as workers:
        running = [workers.submit(work, watched.point / f"d{number}", done[number]) for number in range(WORKERS)]
        looks = 0
        while not all(future.done() for future in running):
            first, middle = of_top(watched.call("top")), of_metrics(scrape(watched))
            status, last = watched.call("status")["operations"], of_top(watched.call("top"))
            assert all(first[key] <= middle.get(key, 0) <= last[key] for key in first), (first, middle, last)
            assert first["written_bytes"] <= status["written_bytes"] <= last["written_bytes"]
            looks += 1
        for future in running:
            future.result()
    assert looks >= 3
    wanted = sum(done, Counter[str]())
    wait_for(lambda: watched.call("top")["operations"]["in_progress"] == 0, "something is not answered")
    found, status = watched.call("top"), watched.call("status")
    after = of_top(found)
    scraped = scrape(watched)
    metrics = of_metrics(scraped)
    assert {name: after[name] - before[name] for name in COUNTED} == {name: wanted[name] for name in COUNTED}
    assert after["rmdir ENOTEMPTY"] == metrics["rmdir ENOTEMPTY"] == wanted["ENOTEMPTY"]
    assert after["written_bytes"] - before["written_bytes"] == wanted["write"] * BLOCK
    assert after["read_bytes"] - before["read_bytes"] == wanted["read"] * BLOCK
    assert {name: metrics[name] for name in COUNTED} == {name: after[name] for name in COUNTED}
    assert status["operations"]["answered"] >= sum(wanted[name] for name in COUNTED)
    assert status["operations"]["errors"] == sum(sum(by.values()) for by in found["operations"]["errors"].values())
    assert status["operations"]["written_bytes"] == after["written_bytes"] == metrics["written_bytes"]
    files = wanted["create"] - wanted["unlink"]
    assert status["files"] == found["files"] == scraped["rustfsfs_files"][()] == files
    assert status["logical_bytes"] == scraped["rustfsfs_logical_bytes"][()] == files * BLOCKS * BLOCK
    for key in ("dead_bytes", "damaged_chunks", "directories"):
        assert status[key] == found[key] == scraped[f"rustfsfs_{key}"][()]


def test_a_kill_or_a_taken_socket_keeps_no_mount_from_serving(watched: WatchedMount) -> None:
    watched.mount()
    watched.kill()
    assert watched.socket.exists()
    watched.mount()  # what the killed one left is replaced
    assert page(watched, "/healthz") == (200, b'{"healthy": true, "reasons": []}\n')
    shown = watched.run("status", watched.point)
    assert shown.returncode == 0 and f"Metrics    on {watched.listen}, beside /healthz" in shown.stdout
    watched.umount()
    assert not watched.socket.exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(watched.socket))
        other.listen()
        watched.mount()
        (watched.point / "f").write_bytes(b"served all the same")
        failing = watched.run("status", watched.point, check=False)
        assert failing.returncode == 7
        assert "Failing    metrics: metrics cannot be served" in failing.stdout
        assert "taken by another program" in failing.stdout.splitlines()[-3]
    watched.socket.unlink()
    wait_for(lambda: watched.call("top")["healthy"] and watched.socket.exists(), "it is not tried again")
    assert page(watched, "/healthz")[0] == 200


def test_a_place_that_others_could_reach_or_inside_the_mount_is_refused(watched: WatchedMount) -> None:
    for listen, says in (
        ("0.0.0.0:9464", "other hosts"),
        (f"unix:{watched.point}/socket", "inside the mount"),
    ):
        watched.listen = listen
        told = watched.mount(check=False)
        assert told.returncode == 2
        assert says in told.stderr
    assert not os.path.ismount(watched.point)


def test_scrapers_that_never_read_hold_nobody_up(watched: WatchedMount) -> None:
    watched.mount()
    stuck = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for client in stuck:
        client.connect(str(watched.socket))
        with contextlib.suppress(OSError):
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    (watched.point / "f").write_bytes(b"x" * 1000)
    assert (watched.point / "f").read_bytes() == b"x" * 1000
    assert watched.call("top")["healthy"]
    for client in stuck:
        client.close()

    def answered() -> bool:
        with contextlib.suppress(OSError, IndexError):
            return page(watched, "/healthz")[0] == 200
        return False

    wait_for(answered, "there is no room for others afterwards")


def test_top_once_is_json_for_programs_and_words_for_people(watched: WatchedMount) -> None:
    watched.mount()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            (watched.point / "f").write_bytes(b"x" * 100_000)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = json.loads(watched.run("top", watched.point, "--once", "--json").stdout)
        shown = watched.run("top", watched.point, "--once", "--interval", "0.3").stdout
    finally:
        stop.set()
        thread.join()
    assert found["format"] == 1 and found["mount_point"] == str(watched.point) and found["pid"] == watched.pid
    assert f"Mount      {watched.point}" in shown and "Health     good" in shown
    assert "write " in shown and "99 % in" in shown and "\x1b" not in shown
