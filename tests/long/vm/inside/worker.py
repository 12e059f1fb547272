"""A client of NFS that keeps files open, and tells the suite of each thing that the server has acknowledged as durable.

worker.py work FOLDER PORT     step after step until SIGTERM; PORT hears the handles of its open files, each step done,
                               and each error: it tries again with the files that it has open
worker.py check FOLDER STEPS   is all there that so many steps made? The step behind them may be done, or half of it
worker.py reopen MOUNT HANDLE… the files of these handles, which the client never heard of since it started, are opened

What step k does follows from k alone, so that whoever knows how many were done knows what must be there.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

UID = 1000  # root is squashed
FILES, BLOCKS, BLOCK_BYTES = 3, 64, 4096
HANDLE_BYTES_MAX = 128
PAUSE_S = 0.02
OPEN = "open{}"


@dataclass
class State:
    """What is in the folder after some steps."""

    names: set[str] = field(default_factory=lambda: {OPEN.format(number) for number in range(FILES)})
    blocks: dict[tuple[int, int], bytes] = field(default_factory=dict)  # (file, block): its content


def block_of(step: int) -> tuple[int, int]:
    return step % FILES, step * 7919 % BLOCKS


def content(step: int) -> bytes:
    return f"step {step} ".encode().ljust(BLOCK_BYTES, b".")


def note(state: State, step: int) -> None:
    """What `do` makes of the folder."""
    kind = step % 5
    if kind == 0:
        state.names.add(f"new{step}")
    elif kind == 1:
        state.names.remove(f"new{step - 1}")
        state.names.add(f"named{step - 1}")
    elif kind == 4 and step % 2:
        state.names.remove(f"named{step - 4}")
    else:
        state.blocks[block_of(step)] = content(step)


def do(folder: Path, files: list[int], step: int, *, again: bool) -> None:
    """`again`: the attempt before may have done it, although it got an error."""
    try:
        _do(folder, files, step)
    except (FileExistsError, FileNotFoundError):
        if not again:
            raise


def _do(folder: Path, files: list[int], step: int) -> None:
    kind = step % 5
    if kind == 0:
        os.close(os.open(folder / f"new{step}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    elif kind == 1:
        (folder / f"new{step - 1}").rename(folder / f"named{step - 1}")
    elif kind == 4 and step % 2:
        (folder / f"named{step - 4}").unlink()
    else:
        number, block = block_of(step)
        os.pwrite(files[number], content(step), block * BLOCK_BYTES)
        os.fsync(files[number])


# --- handles: name_to_handle_at(2) hands out the server's, as the client of NFS has it --------------------------------


class Handle(ctypes.Structure):
    """struct file_handle"""

    _fields_ = [
        ("size", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("bytes", ctypes.c_ubyte * HANDLE_BYTES_MAX),
    ]


LIBC = ctypes.CDLL(None, use_errno=True)


def handle_of(path: Path) -> str:
    handle, mount = Handle(HANDLE_BYTES_MAX), ctypes.c_int()
    failed = LIBC.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0)
    if failed:
        raise OSError(ctypes.get_errno(), f"no handle of {path}")
    return f"{handle.kind}:{bytes(handle.bytes[: handle.size]).hex()}"


def open_handle(mount: int, text: str) -> int:
    kind, data = text.split(":")
    raw = bytes.fromhex(data)
    handle = Handle(len(raw), int(kind), (ctypes.c_ubyte * HANDLE_BYTES_MAX)(*raw))
    found: int = LIBC.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"a handle from before: {os.strerror(ctypes.get_errno())}")
    return found


# --- the three commands -----------------------------------------------------------------------------------------------


def work(folder: Path, port: str) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    with open(port, "wb", buffering=0) as said:
        os.setgid(UID)
        os.setuid(UID)
        try:
            paths = [folder / OPEN.format(number) for number in range(FILES)]
            files = [os.open(path, os.O_CREAT | os.O_RDWR, 0o644) for path in paths]
            for path in paths:
                said.write(f"handle {handle_of(path)}\n".encode())
        except OSError as exc:
            said.write(f"trouble at the start: {exc}\n".encode())
            raise
        step, again = 0, False
        while not ended:
            try:
                do(folder, files, step, again=again)
            except OSError as exc:
                said.write(f"trouble at step {step}: {exc}\n".encode())
                again = True
            else:
                step, again = step + 1, False
                said.write(f"done {step}\n".encode())
            time.sleep(PAUSE_S)
        for file in files:
            os.close(file)


def check(folder: Path, steps: int) -> None:
    least, most = State(), State()
    for step in range(steps + 1):
        if step < steps:
            note(least, step)
        note(most, step)
    found = set(os.listdir(folder))
    assert found in (least.names, most.names), f"names: {sorted(found ^ least.names)[:5]}"
    for number in range(FILES):
        with open(folder / OPEN.format(number), "rb") as file:
            for block, held in enumerate(blocks_of(file.read())):
                wanted = [state.blocks.get((number, block), bytes(BLOCK_BYTES)) for state in (least, most)]
                assert held.ljust(BLOCK_BYTES, b"\0") in wanted, f"file {number}, block {block}: {held[:20]!r}"
    print(f"{len(found)} names, {len(least.blocks)} blocks")


def blocks_of(data: bytes) -> Iterator[bytes]:
    """BLOCKS of them: what is missing at the end is empty."""
    for block in range(BLOCKS):
        yield data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]


def reopen(mount: Path, handles: list[str]) -> None:
    root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    for handle in handles:
        file = open_handle(root, handle)
        assert os.read(file, 1) in (b"s", b"\0"), "it is another file"
        os.close(file)
    print(f"{len(handles)} handles")


if __name__ == "__main__":
    command, place, *rest = sys.argv[1:]
    if command == "work":
        work(Path(place), rest[0])
    elif command == "check":
        check(Path(place), int(rest[0]))
    else:
        reopen(Path(place), rest)
