"""Talking to a mounted volume from another process."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rustfsfs.errors import InUse, OpeningError
from rustfsfs.service.protocol import NAME, VERSION, encode

Progress = Callable[[int, int, str], None]
READ_SIZE = 1 << 16


class CallFailed(OpeningError):
    """The mount's own sentence and exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def call(volume_path: str, name: str, args: dict[str, Any], on_progress: Progress | None = None) -> Any:
    """The result of one call. Raises CallFailed, InUse (nobody answers)."""
    folder = os.open(volume_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            try:
                stream.connect(f"/proc/self/fd/{folder}/{NAME}")
            except OSError as exc:
                raise InUse(_why_silent(volume_path, exc)) from exc
            with suppress(ConnectionError), stream.makefile("rb", buffering=READ_SIZE) as lines:
                stream.sendall(encode({"v": VERSION, "call": name, "args": args}))
                for line in lines:
                    message = json.loads(line)
                    if "progress" not in message:
                        return _result(message)
                    if on_progress is not None:
                        found = message["progress"]
                        on_progress(found["done"], found["total"], found["text"])
    finally:
        os.close(folder)
    raise InUse(f"the mount of {volume_path} ended before it answered")


def _why_silent(volume_path: str, exc: OSError) -> str:
    if os.statvfs(volume_path).f_flag & os.ST_RDONLY:
        return (
            f"{volume_path} is on a read-only file system, so its mount cannot be asked; name {volume_path} and a key"
        )
    return f"the mount of {volume_path} does not answer ({exc.strerror})"


def _result(message: dict[str, Any]) -> Any:
    if "error" in message:
        raise CallFailed(message["error"], int(message.get("exit", 1)))
    return message["result"]
