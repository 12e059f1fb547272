"""Requests whose pages may lie on the disk only: a worker reads those first, while other requests are answered.

The loop runs SQLite itself, and a page that the kernel has not in memory would hold everybody for as long as the disk
takes. So it is looked now and then whether the kernel holds the whole database. While it does, as nearly always, a
request costs one look at `is_cold` more. While it does not, the SELECTs of a request run on a connection of its own in
a worker first (`meta.touching`), unless the same were run a short while ago. They answer nothing.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import trio

from rustfsfs.errors import RustfsfsError
from rustfsfs.meta import database
from rustfsfs.meta.database import PAGE_SIZE, Metadata
from rustfsfs.meta.touching import STRETCH, TOUCHES
from rustfsfs.units import MIB
from rustfsfs.volume.volume import Volume, log

RECENT_S = 30.0  # so long the kernel is trusted to keep what was read
RECENT_MAX = 10_000  # about 2 MB
FETCHED_BYTES_MAX = 64 * MIB  # so much is read back at once; more means that the kernel needs the memory
SCOUT_CACHE_KIB = 512  # what a scout remembers it does not read: little more than the inner nodes
BY_INODE = {"getattr", "readlink", "opendir", "open", "getxattr", "setxattr", "listxattr", "removexattr"}


async def look(volume: Volume) -> bool:
    """Does the kernel hold the whole database? Some pages that it does not are read back: then True, for look again."""
    files, path = volume.world.files, volume.metadata.path
    is_fetched = False
    try:
        missing = await trio.to_thread.run_sync(files.missing_pages, path)
        is_fetched = 0 < missing * PAGE_SIZE <= FETCHED_BYTES_MAX
        if is_fetched:
            await trio.to_thread.run_sync(files.want_pages, path)
    except OSError as exc:
        log.info("it cannot be seen what the kernel holds of the metadata: %s", exc)
        missing = 0
    volume.warmth.is_cold = missing > 0
    return is_fetched


async def warm(volume: Volume, request: str, arguments: Sequence[Any]) -> None:
    """Return when the pages of a request are in memory; at once for one that has none, or had them just now.

    request   a key of TOUCHES; `arguments` as its function takes them. What is wrong with a page the request meets
    itself: this never raises for it.
    """
    touch, key = TOUCHES.get(request), _key(request, arguments)
    if touch is None or (key is not None and _is_recent(volume, key)):
        return
    try:
        await trio.to_thread.run_sync(_run, volume, touch, arguments, limiter=volume.warmth.limiter)
    except Exception:
        log.exception("the pages of a request (%s) could not be read ahead: a bug of rustfsfs", request)
        volume.warmth.is_cold = False  # until the next look: nobody needs this, and the log shall not fill with it
        return
    if key is not None:
        _remember(volume, key)


def _key(request: str, arguments: Sequence[Any]) -> tuple[int, int] | None:
    """What later requests have in common with this one; None: the kernel asks for the same but once."""
    if request in ("read", "write"):
        return arguments[0], arguments[1] // STRETCH
    if request == "open" and arguments[1] & os.O_TRUNC:
        return None
    return (arguments[0], -1) if request in BY_INODE else None


def _is_recent(volume: Volume, key: tuple[int, int]) -> bool:
    return trio.current_time() - volume.warmth.recent.get(key, -RECENT_S) < RECENT_S


def _remember(volume: Volume, key: tuple[int, int]) -> None:
    recent = volume.warmth.recent
    recent[key] = trio.current_time()
    recent.move_to_end(key)
    if len(recent) > RECENT_MAX:
        recent.popitem(last=False)


def _run(volume: Volume, touch: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Blocking, in as many workers at once as `limiter` lets; each has a scout to itself."""
    with suppress(RustfsfsError):
        scout = _scout(volume)
        try:
            touch(scout, *arguments)
        finally:
            volume.warmth.scouts.append(scout)


def _scout(volume: Volume) -> Metadata:
    """One that is free, or a new one."""
    with suppress(IndexError):
        return volume.warmth.scouts.pop()
    path, key = volume.metadata.path, volume.metadata.key
    scout = Metadata(database.connect(path, key, vfs=volume.world.sqlite_vfs), path, key)
    scout.run(f"PRAGMA cache_size = -{SCOUT_CACHE_KIB}")
    return scout


def close(volume: Volume) -> None:
    """Nobody warms anything any more."""
    while volume.warmth.scouts:
        volume.warmth.scouts.pop().close()
