"""The control socket: calls, progress, mistakes, several clients, long paths."""

import contextlib
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from rustfsfs.errors import CloudUnavailable, InUse, MachineTrouble, UsageError
from rustfsfs.service.client import CallFailed, call
from rustfsfs.service.control import LOOK_EVERY_S, Progress, bind, run_control
from rustfsfs.service.protocol import LINE_SIZE_MAX, NAME, parse_request


async def echo(args: dict[str, Any], progress: Progress) -> Any:
    progress(1, 2, "half")
    await trio.lowlevel.checkpoint()
    return args


async def refuse(args: dict[str, Any], progress: Progress) -> Any:
    raise UsageError("not like this")


async def fail(args: dict[str, Any], progress: Progress) -> Any:
    raise RuntimeError("a bug")


async def reach_out(args: dict[str, Any], progress: Progress) -> Any:
    raise CloudUnavailable("the bucket does not answer")


CALLS = {"echo": echo, "refuse": refuse, "fail": fail, "reach out": reach_out}


def raw(path: str, data: bytes) -> list[dict[str, Any]]:
    folder = os.open(path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{folder}/{NAME}")
        with contextlib.suppress(BrokenPipeError):  # the server need not hear a line to its end
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while more := client.recv(65536):
            answer += more
    os.close(folder)
    return [json.loads(line) for line in answer.splitlines()]


async def serving(path: Path, ask: Any) -> Any:
    """What `ask`, run in a thread, gives while the server runs."""
    async with trio.open_nursery() as nursery:
        await nursery.start(run_control, str(path), CALLS)
        result = await trio.to_thread.run_sync(ask)
        nursery.cancel_scope.cancel()
    return result


async def test_a_call_is_answered_with_its_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    result = await serving(
        tmp_path, lambda: call(str(tmp_path), "echo", {"a": [1]}, lambda *report: seen.append(report))
    )
    assert result == {"a": [1]}
    assert seen == [(1, 2, "half")]
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        pytest.param(b"garbage", 2, "JSON", id="garbage"),
        pytest.param(b"[1]", 2, "version", id="not an object"),
        pytest.param(b'{"v": 9, "call": "echo"}', 2, "version 1", id="another version"),
        pytest.param(b'{"v": 1, "call": "nothing"}', 2, "echo, fail, reach out, refuse", id="an unknown call"),
        pytest.param(b'{"v": 1, "call": "echo", "args": 3}', 2, "object", id="arguments that are none"),
        pytest.param(b'{"v": 1, "call": "refuse"}', 2, "not like this", id="a mistake"),
        pytest.param(b'{"v": 1, "call": "reach out"}', 8, "does not answer", id="the network"),
        pytest.param(b'{"v": 1, "call": "fail"}', 1, "its log says more", id="a bug of ours"),
        pytest.param(b"x" * (LINE_SIZE_MAX + 70000), 2, "too long", id="a huge line"),
    ],
)
async def test_trouble_is_an_error_line_and_the_server_goes_on(
    tmp_path: Path, line: bytes, code: int, says: str
) -> None:
    good = b'{"v": 1, "call": "echo", "args": {"x": 1}}\n'

    def ask() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return raw(str(tmp_path), line + b"\n"), raw(str(tmp_path), good)

    bad, after = await serving(tmp_path, ask)
    assert bad[-1]["exit"] == code
    assert says in bad[-1]["error"]
    assert after[-1] == {"result": {"x": 1}}


async def test_a_path_longer_than_a_socket_name_may_be_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    assert await serving(deep, lambda: call(str(deep), "echo", {})) == {}


async def test_only_the_owner_may_ask_and_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / NAME))
    mode = await serving(tmp_path, lambda: (tmp_path / NAME).stat().st_mode & 0o777)
    assert mode == 0o600


async def test_a_directory_in_the_way_of_the_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(MachineTrouble, match=f"{NAME} cannot be made"):
        bind(str(tmp_path))


async def test_the_sentence_of_the_mount_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.RaisesGroup(CallFailed, allow_unwrapped=True, flatten_subgroups=True) as caught:
        await serving(tmp_path, lambda: call(str(tmp_path), "refuse", {}))
    assert "not like this" in str(caught.value) or "not like this" in repr(caught.value)


def test_a_request_without_arguments_has_none() -> None:
    assert parse_request(b'{"v": 1, "call": "status"}') == ("status", {})


async def test_a_client_that_is_interrupted_ends_its_call_and_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()

    async def go_on(args: dict[str, Any], progress: Progress) -> Any:
        try:
            while True:
                progress(1, 2, "on and on")
                await trio.sleep(0.01)
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run_control, str(tmp_path), {"go_on": go_on})
        stream = await trio.open_unix_socket(f"{tmp_path}/{NAME}")
        await stream.send_all(b'{"v":1,"call":"go_on","args":{}}\n')
        await stream.receive_some()
        await stream.aclose()
        with trio.fail_after(10):
            await ended.wait()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert caplog.records == []


async def test_a_client_that_hangs_up_ends_a_call_that_has_nothing_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def silent(args: dict[str, Any], progress: Progress) -> Any:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run_control, str(tmp_path), {"tier_demote": silent})
        stream = await trio.open_unix_socket(f"{tmp_path}/{NAME}")
        await stream.send_all(b'{"v":1,"call":"tier_demote","args":{}}\n')
        await begun.wait()
        await stream.aclose()
        with trio.fail_after(10):
            await ended.wait()
        nursery.cancel_scope.cancel()
    assert caplog.records == []


async def test_a_client_that_only_says_no_more_is_answered(tmp_path: Path) -> None:
    async def slow(args: dict[str, Any], progress: Progress) -> Any:
        await trio.sleep(2 * LOOK_EVERY_S)
        return "done"

    async with trio.open_nursery() as nursery:
        await nursery.start(run_control, str(tmp_path), {"seal": slow})
        answer = await trio.to_thread.run_sync(raw, str(tmp_path), b'{"v":1,"call":"seal","args":{}}\n')
        nursery.cancel_scope.cancel()
    assert answer == [{"result": "done"}]


def test_a_mount_that_ends_before_it_answers_is_named(tmp_path: Path) -> None:
    """As one does that is unmounted while somebody asks: its kernel resets who waits to be heard."""
    with bind(str(tmp_path)) as listening:
        asking = ThreadPoolExecutor(1).submit(call, str(tmp_path), "status", {})
        taken, _ = listening.accept()
        taken.close()  # with the request unread
        with pytest.raises(InUse, match="ended before it answered"):
            asking.result(20)
