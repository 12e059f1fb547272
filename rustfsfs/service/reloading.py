"""Settings of a mount that are read anew while it serves: by the control call `reload`, or on SIGHUP."""

import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import trio

from rustfsfs.config import Key, Parsed, Setting, config_of
from rustfsfs.errors import RustfsfsError
from rustfsfs.service import sites
from rustfsfs.siteconfig import Site, effective
from rustfsfs.volume.reloading import take_over
from rustfsfs.volume.settings import read_settings
from rustfsfs.volume.volume import Volume, log

ALWAYS = ("mount", "metrics")  # tables of which nothing changes while it is mounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The files that a mount's settings are in."""

    own: str  # VOLUME/config.toml, or what --config names
    must_exist: bool
    site: Site | None  # as it was when the volume was mounted


def read(sources: Sources, *, anew: bool = False) -> list[Setting]:
    """Every key as it is in effect. Blocking. Raises UsageError, MachineTrouble.

    anew  the site's file is read once more
    """
    site = sources.site
    if anew and site is not None:
        site = sites.load_file(site.path)
    own: Parsed = read_settings(sources.own, must_exist=sources.must_exist)
    return effective(site, own)


async def reload(
    volume: Volume, sources: Sources, told: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
) -> dict[str, Any]:
    """Take over what the files say now: `{"changed": [...], "waiting": [...]}`.

    changed   {"key", "value" (as in TOML)} in effect now
    waiting   the same and "why": not before the next mount
    told      entered while it goes on: who else wants to know

    Raises UsageError, MachineTrouble: then nothing has changed.
    """
    async with volume.settings.lock, told():
        found = await trio.to_thread.run_sync(lambda: read(sources, anew=True))
        taken = await take_over(volume, config_of(found))
    texts = {setting.key: setting.text for setting in found}
    waiting = [*_changed_since_mount(sources, found), *taken.waiting]
    for key in taken.changed:
        log.info("reloaded: %s is %s now", key.name, texts[key])
    for key in waiting:
        log.warning("reloaded: %s = %s waits for the next mount: %s", key.name, texts[key], key.fixed)
    return {
        "changed": [{"key": key.name, "value": texts[key]} for key in taken.changed],
        "waiting": [{"key": key.name, "value": texts[key], "why": key.fixed} for key in waiting],
    }


def _changed_since_mount(sources: Sources, found: list[Setting]) -> list[Key]:
    if sources.site is None:
        return []
    then = {setting.key: setting.value for setting in effective(sources.site, Parsed(frozenset(), {}))}
    return [one.key for one in found if one.key.table in ALWAYS and then[one.key] != one.value]


async def run_on_hangup(
    reload: Callable[[], Awaitable[object]], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> NoReturn:
    """SIGHUP reloads. A mistake is logged, and nothing has changed."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _number in signals:
            try:
                await reload()
            except RustfsfsError as exc:
                log.error("the settings were not reloaded, and nothing has changed: %s", exc)
            except Exception:
                log.exception("reloading the settings failed: a bug of rustfsfs")
    raise AssertionError("signals do not end")
