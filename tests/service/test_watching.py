"""What a mount shows to those who watch it, where it listens, and what a scrape costs."""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from rustfsfs.cli.status import describe
from rustfsfs.errors import MachineTrouble
from rustfsfs.listening import Listen, Loopback, UnixSocket, parse_listen
from rustfsfs.service.exposition import Exposition
from rustfsfs.service.watching import bound, run_metrics
from rustfsfs.volume import drives
from rustfsfs.volume.figures import figures, figures_and_space
from rustfsfs.volume.status import status
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.service.scraped import parse
from tests.volume.in_memory import InMemory, new_volume

PACKS, DISKS = 65_000, 16  # a terabyte
LOOP_S_MAX, CPU_S_MAX = 0.002, 0.010
TRIES = 5  # others use this machine: the best of so many counts


async def get(where: str, path: str) -> tuple[int, bytes]:
    """(status, body), as a scraper gets them."""
    listen = parse_listen(where)
    if isinstance(listen, UnixSocket):
        stream = await trio.open_unix_socket(listen.path)
    else:
        assert listen is not None
        stream = await trio.open_tcp_stream(listen.host, listen.port)
    async with stream:
        await stream.send_all(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path.encode())
        found = b""
        while data := await stream.receive_some(1 << 16):
            found += data
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@asynccontextmanager
async def watched(volume: Volume, listen: Listen) -> AsyncIterator[str]:
    """Where its pages are."""
    async with trio.open_nursery() as nursery:
        where: str = await nursery.start(lambda **how: run_metrics(volume, listen, **how))
        yield where
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "unix"])
async def test_metrics_and_health_are_served(tmp_path: Path, host: str) -> None:
    path = tmp_path / "socket"
    listen = UnixSocket(str(path)) if host == "unix" else Loopback(host, 0)
    async with new_volume(tmp_path) as volume, watched(volume, listen) as where:
        assert host != "unix" or path.stat().st_mode & 0o777 == 0o600
        status, text = await get(where, "/metrics")
        assert status == 200 and parse(text)["rustfsfs_healthy"] == {(): 1}
        assert await get(where, "/healthz") == (200, b'{"healthy": true, "reasons": []}\n')
        assert (await get(where, "/"))[0] == 404
    assert not path.exists()


async def test_what_is_wrong_is_told_with_reasons(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume, watched(volume, Loopback("127.0.0.1", 0)) as where:
        volume.health.tasks["sealer"] = "no room"
        volume.health.missing_disks[2] = "/srv/b"
        status, body = await get(where, "/healthz")
        found = parse((await get(where, "/metrics"))[1])
        volume.health.tasks.clear()
        volume.health.missing_disks.clear()
        assert (await get(where, "/healthz"))[0] == 200
    assert status == 503
    assert json.loads(body) == {
        "healthy": False,
        "reasons": ["a disk is missing: /srv/b", "sealer fails: no room"],
    }
    assert found["rustfsfs_healthy"] == {(): 0} and found["rustfsfs_missing_disks"] == {(): 1}
    assert found["rustfsfs_task_failing"] == {("sealer",): 1}


class DiskGoes(CrashFiles):
    """What is asked about `gone`, and what lies below it, is no longer there."""

    gone = "-"

    def space(self, path: str) -> Space:
        if path.startswith(self.gone):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return super().space(path)


async def test_a_disk_that_goes_while_it_is_mounted_is_told_of_until_it_is_back(tmp_path: Path) -> None:
    files = DiskGoes()
    made = InMemory(tmp_path, files, disk_count=2)
    async with made.opened() as volume, watched(volume, Loopback("127.0.0.1", 0)) as where:
        assert (await get(where, "/healthz"))[0] == 200
        files.gone = str(made.disks[1])
        code, body = await get(where, "/healthz")
        assert (code, json.loads(body)["reasons"]) == (503, [f"a disk does not answer: {files.gone} is missing"])
        found = parse((await get(where, "/metrics"))[1])
        assert found["rustfsfs_healthy"] == {(): 0} and found["rustfsfs_missing_disks"] == {(): 1}
        assert list(found["rustfsfs_disk_free_bytes"]) == [(str(made.disks[0]),)]
        shown = await status(volume, state="mounted", mount_point=None, pid=None)
        assert not shown["healthy"] and f"MISSING {files.gone}" in describe(shown | {"metrics": None})
        assert [one["state"] for one in await drives.list_(volume)] == ["ready", "missing"]
        files.gone = "-"
        assert (await get(where, "/healthz"))[0] == 200


async def test_health_is_told_while_a_commit_has_the_database(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume, watched(volume, Loopback("127.0.0.1", 0)) as where, volume.gate.closed():
        assert (await get(where, "/healthz"))[0] == 200
        assert (await get(where, "/metrics"))[0] == 200


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with bound(UnixSocket(path)):
        pass


def test_a_socket_put_in_the_place_of_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with bound(UnixSocket(str(path))):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize("kind", ["address", "socket", "file", "folder"])
def test_a_place_that_is_taken_is_left_alone_and_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_INET if kind == "address" else socket.AF_UNIX) as other:
        listen: Listen = UnixSocket(str(path))
        match kind:
            case "address":
                other.bind(("127.0.0.1", 0))
                other.listen()
                listen = Loopback("127.0.0.1", other.getsockname()[1])
            case "socket":
                other.bind(str(path))
                other.listen()
            case "file":
                path.write_text("mine")
            case "folder":
                listen = UnixSocket(str(tmp_path / "none" / "socket"))
        says = {"file": "something else", "folder": "No such file"}.get(kind, "taken by another program")
        with pytest.raises(MachineTrouble, match=f"metrics cannot be served on .*{says}"), bound(listen):
            pass
    assert kind != "file" or path.read_text() == "mine"


async def test_a_scrape_holds_the_loop_and_the_interpreter_for_two_milliseconds_at_most(tmp_path: Path) -> None:
    """On a volume of many packs and disks. Times are of processors: others use this machine."""
    exposition, at_s = Exposition(), list[float]()
    loop_s = piece_s = whole_s = 1.0
    async with InMemory(tmp_path, disk_count=DISKS).opened() as volume:
        volume.metadata.run(
            "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1000 + ?)"
            " INSERT INTO packs (disk, pack, size_bytes, live_bytes, end_bytes, closed)"
            " SELECT 1 + i % ?, i, 16777216, 9000000, 16777216, 1 FROM n",
            (PACKS, DISKS),
        )
        for _ in range(TRIES):
            began_s = time.process_time()
            found = await figures_and_space(volume)
            at_s[:] = [time.thread_time()]
            text = exposition.text(found, lambda: at_s.append(time.thread_time()))
            at_s.append(time.thread_time())
            whole_s = min(whole_s, time.process_time() - began_s)
            piece_s = min(piece_s, max(after - before for before, after in pairwise(at_s)))
            began_s = time.thread_time()
            figures(volume)
            loop_s = min(loop_s, time.thread_time() - began_s)
    assert text.count(b"rustfsfs_disk_free_bytes{") == DISKS
    assert max(loop_s, piece_s) <= LOOP_S_MAX, (loop_s, piece_s)
    assert whole_s <= CPU_S_MAX, whole_s


async def test_a_look_at_status_never_holds_the_loop_for_long(tmp_path: Path) -> None:
    """Sums of all packs take their time, a few at a time."""
    longest_s = 1.0
    async with InMemory(tmp_path).opened() as volume:
        volume.numbers.pack = 1000 + PACKS
        volume.metadata.run(
            "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 999 + ?)"
            " INSERT INTO packs (disk, pack, size_bytes, live_bytes, end_bytes, closed) SELECT 1, i, 9, 2, 9, 1 FROM n",
            (PACKS,),
        )
        for _ in range(TRIES):
            at_s = [time.thread_time()]
            trio.lowlevel.add_instrument(watch := _Turns(at_s))
            shown = await status(volume, state="mounted", mount_point=None, pid=1)
            trio.lowlevel.remove_instrument(watch)
            longest_s = min(longest_s, max(after - before for before, after in pairwise(at_s)))
    assert shown["disks"][0]["stored_bytes"] == 2 * PACKS
    assert longest_s <= 5 * LOOP_S_MAX, longest_s  # all at once: 50 ms


class _Turns(trio.abc.Instrument):
    """When each turn of the loop's tasks begins."""

    def __init__(self, at_s: list[float]) -> None:
        self._at_s = at_s

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at_s.append(time.thread_time())


async def test_scrapes_from_many_sides_are_all_answered(tmp_path: Path) -> None:
    answers: list[int] = []
    async with new_volume(tmp_path) as volume, watched(volume, Loopback("127.0.0.1", 0)) as where:

        async def scrape() -> None:
            answers.append((await get(where, "/metrics"))[0])

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(scrape)
        assert threading.active_count() < 20
    assert answers == [200] * 8
