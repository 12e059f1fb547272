"""The composition root: configuration → World → Volume → tasks, control socket and FUSE in one nursery."""

import errno
import gc
import logging
import logging.handlers
import os
import resource
import shutil
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from rustfsfs.config import Config
from rustfsfs.errors import InUse, MachineTrouble, NotAVolume, RustfsfsError, UsageError
from rustfsfs.fuse import session
from rustfsfs.fuse.ops import Operations
from rustfsfs.service import mounts
from rustfsfs.service.control import Call, Progress, run_control
from rustfsfs.store.headers import VOLUME_HEADER
from rustfsfs.tasks.collector import run_collector
from rustfsfs.tasks.damage import run_damage
from rustfsfs.tasks.epochs import run_epochs
from rustfsfs.tasks.mover import run_mover
from rustfsfs.tasks.publisher import run_publisher
from rustfsfs.tasks.readahead import run_readahead
from rustfsfs.tasks.reaper import run_reaper
from rustfsfs.tasks.scrubber import run_scrubber
from rustfsfs.tasks.sealer import run_sealer
from rustfsfs.tasks.segments import run_segments
from rustfsfs.tasks.snapshots import run_snapshots
from rustfsfs.tasks.sweeper import run_sweeper
from rustfsfs.tasks.warmth import run_warmth
from rustfsfs.volume.commands import COMMANDS, Command
from rustfsfs.volume.formatting import CONFIG, METADATA, Secret
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.header import listed_disks
from rustfsfs.volume.notices import notice
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.settings import read_config
from rustfsfs.volume.status import status
from rustfsfs.volume.tiercommands import COMMANDS as TIER_COMMANDS
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import World, share_one_heap

KNOWN_OPTIONS = (
    *("dev", "suid", "nodev", "nosuid", "ro", "rw", "noatime", "allow_other", "noxattr", "writeback", "defaults"),
)
LOG_NAME, LOG_SIZE_MAX, LOGS_KEPT = "rustfsfs.log", 4 << 20, 4
RETRY_S_MIN, RETRY_S_MAX = 1.0, 60.0  # a task that failed is started again after


class Task(Protocol):
    def __call__(self, volume: Volume, *, task_status: trio.TaskStatus[None] = ...) -> Awaitable[None]: ...


TASKS: dict[str, Task] = {
    "epochs": run_epochs,
    "segments": run_segments,
    "sealer": run_sealer,
    "reaper": run_reaper,
    "collector": run_collector,
    "scrubber": run_scrubber,
    "snapshots": run_snapshots,
    "warmth": run_warmth,
    "mover": run_mover,
    "sweeper": run_sweeper,
    "publisher": run_publisher,
}
READING_TASKS: dict[str, Task] = {"damage": run_damage, "readahead": run_readahead, "warmth": run_warmth}


Ready = Callable[[str | None], None]  # called with what is wrong with the volume, if it is served all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    volume: str
    mount_point: str
    foreground: bool
    read_only: bool
    config_path: str | None
    options: frozenset[str]  # of -o
    degraded: bool
    skip_seq: int | None


def is_read_only(options: MountOptions) -> bool:
    return options.read_only or "ro" in options.options


def serve(world: World, options: MountOptions, secret: Secret, ready: Ready) -> None:
    """Mount and answer until unmounted. Calls `ready`, in a thread, once requests are served. Raises OpeningError."""
    share_one_heap()
    check_machine(world, options)
    own = f"{options.volume}/{CONFIG}"
    config = read_config(options.config_path or own, must_exist=options.config_path is not None)
    handler = start_log(options, config)
    try:
        os.umask(0)
        os.chdir("/")
        raise_file_limit()
        trio.run(_serve, world, options, config, secret, ready)
    finally:
        log.removeHandler(handler)
        handler.close()


def raise_file_limit() -> None:
    """Each disk keeps up to 256 packs open, the journal a file for each segment: 1 024 in all would not do."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_machine(world: World, options: MountOptions) -> None:
    """Everything that can be seen beforehand, since libfuse says only that it failed."""
    unknown = sorted(options.options - set(KNOWN_OPTIONS))
    if unknown:
        raise UsageError(f"unknown mount option {unknown[0]}; known are {', '.join(KNOWN_OPTIONS)}")
    if not any(os.path.exists(f"{options.volume}/{name}") for name in (VOLUME_HEADER, METADATA)):
        raise NotAVolume(f"{options.volume} is not a rustfsfs volume")
    if not is_read_only(options) and os.statvfs(options.volume).f_flag & os.ST_RDONLY:
        raise MachineTrouble(f"{options.volume} is on a read-only file system; mount it with --read-only")
    try:
        if not stat.S_ISCHR(os.stat("/dev/fuse").st_mode):
            raise MachineTrouble("/dev/fuse is no device; as root: rm /dev/fuse, then modprobe fuse")
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        denied = isinstance(exc, PermissionError)
        hint = "as root: chmod 666 /dev/fuse" if denied else "as root: modprobe fuse"
        raise MachineTrouble(f"/dev/fuse cannot be opened ({exc.strerror}); {hint}") from exc
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise MachineTrouble("fusermount3 is missing; install the package fuse3")
    _check_mount_point(world, options)


def _check_mount_point(world: World, options: MountOptions) -> None:
    point = options.mount_point
    try:
        mode = os.stat(point).st_mode
    except FileNotFoundError as exc:
        raise MachineTrouble(f"the mount point {point} does not exist; make the directory first") from exc
    except OSError as exc:
        if exc.errno == errno.ENOTCONN:
            raise InUse(f"{point} is the mount point of a daemon that is gone; fusermount3 -uz {point}") from exc
        raise MachineTrouble(f"the mount point {point} cannot be used ({exc.strerror})") from exc
    if not stat.S_ISDIR(mode):
        raise MachineTrouble(f"the mount point {point} is not a directory")
    there = mounts.at(point)
    if there is not None:
        raise InUse(f"{point} is a mount point already (of {there.source}, {there.fstype}); unmount it first")
    if os.listdir(point):
        raise InUse(f"the mount point {point} is not empty")
    for folder in [options.volume, *listed_disks(world, options.volume)]:
        if mounts.is_inside(point, os.path.realpath(folder)) or mounts.is_inside(os.path.realpath(folder), point):
            raise UsageError(f"the mount point {point} lies inside or around {folder}, which holds the volume")


def start_log(options: MountOptions, config: Config) -> logging.Handler:
    """journald or syslog when there is one, else VOLUME/rustfsfs.log, rotated; stderr too in the foreground."""
    handler: logging.Handler
    if options.foreground:
        handler = logging.StreamHandler(sys.stderr)
    elif os.path.exists("/dev/log"):
        handler = logging.handlers.SysLogHandler("/dev/log", facility="daemon")
        handler.ident = "rustfsfs: "
    else:
        handler = _file_handler(f"{options.volume}/{LOG_NAME}")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for spoken in list(notice.handlers):  # no terminal any more, or the whole log on it
        notice.removeHandler(spoken)
    log.addHandler(handler)
    log.setLevel(config.log.level.upper())
    return handler


def _file_handler(path: str) -> logging.Handler:
    """A volume on a read-only file system is mounted all the same, without a log."""
    try:
        return logging.handlers.RotatingFileHandler(
            path, maxBytes=LOG_SIZE_MAX, backupCount=LOGS_KEPT, encoding="utf-8"
        )
    except OSError:
        return logging.NullHandler()


def fuse_options(options: MountOptions) -> set[str]:
    """What the kernel is told: permissions are its work; nosuid and nodev unless asked otherwise."""
    source = options.volume.replace("\\", "\\\\").replace(",", "\\,")  # libfuse takes both away again
    found = {f"fsname={source}", "subtype=rustfsfs", "default_permissions"}
    found.add("suid" if "suid" in options.options else "nosuid")
    found.add("dev" if "dev" in options.options else "nodev")
    if os.geteuid() == 0 or "allow_other" in options.options:
        found.add("allow_other")
    if is_read_only(options):
        found.add("ro")
    if "noatime" in options.options:
        found.add("noatime")
    return found


async def _serve(world: World, options: MountOptions, config: Config, secret: Secret, ready: Ready) -> None:
    how = Opening(
        path=options.volume,
        secret=secret,
        config=config,
        mount_point=options.mount_point,
        read_only=is_read_only(options),
        degraded=options.degraded,
        skip_seq=options.skip_seq,
        noatime="noatime" in options.options,
    )
    async with opened_volume(world, how) as volume:
        with ungrouped():
            await _serve_volume(volume, options, ready)


async def _serve_volume(volume: Volume, options: MountOptions, ready: Ready) -> None:
    asked = options.options
    operations = Operations(volume, noxattr="noxattr" in asked, writeback="writeback" in asked)
    spare_collector()
    session.begin(operations, options.mount_point, fuse_options(options))
    unmounted = False
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(run_control, volume.path, _calls(volume, options))
            for name, task in _tasks(volume).items():
                nursery.start_soon(_keep_running, volume, name, task)
            nursery.start_soon(_end_on_signal)
            log.info("mounted on %s by process %d", options.mount_point, os.getpid())
            nursery.start_soon(_announce, options.mount_point, volume.health.trouble, ready)
            await session.run(lambda: _threads_work(volume))
            unmounted = mounts.ours_at(options.mount_point) is None
            nursery.cancel_scope.cancel()
    finally:
        session.close(unmount=not unmounted)
        log.info("unmounted from %s", options.mount_point)


def spare_collector() -> None:
    """What there is by now stays: a full collection leaves it out, which else holds the loop for 20 ms (measured)."""
    gc.collect()
    gc.freeze()


def _threads_work(volume: Volume) -> bool:
    """Does a thread work on something that a task waits for?"""
    shared = trio.to_thread.current_default_thread_limiter()
    limiters = (volume.readers, volume.sealers, volume.ahead.workers, volume.warmth.limiter, shared)
    return volume.barriers.is_running or any(limiter.borrowed_tokens for limiter in limiters)


def _tasks(volume: Volume) -> dict[str, Task]:
    """Where nothing may be changed, only those that change nothing."""
    return TASKS | READING_TASKS if volume.health.read_only_reason is None else READING_TASKS


async def _announce(mount_point: str, trouble: str | None, ready: Ready) -> None:
    """Once a request was answered, tune the mount and say ready. Another process asks: this one must not ask itself."""
    try:
        await trio.run_process(["stat", "-f", mount_point], capture_stdout=True, capture_stderr=True, check=False)
    except OSError:
        pass  # no such program: then unasked
    there = mounts.ours_at(mount_point)
    if there is not None:
        session.tune(there.device)
    await trio.to_thread.run_sync(ready, trouble)


async def _end_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("ending: signal %d", number)
            session.end()
            return


async def _keep_running(volume: Volume, name: str, task: Task) -> None:
    """A task that fails is logged, shown in status, and started again; the mount goes on."""
    volume.health.tasks[name] = ""
    pause_s = RETRY_S_MIN
    while True:
        started_s = trio.current_time()
        try:
            with ungrouped():
                await task(volume)
        except RustfsfsError as exc:
            log.error("the task %s failed and is tried again: %s", name, exc)
            volume.health.tasks[name] = str(exc)
        except Exception as exc:
            log.exception("the task %s failed and is tried again: a bug of rustfsfs", name)
            volume.health.tasks[name] = repr(exc)
        if trio.current_time() - started_s > RETRY_S_MAX:
            pause_s = RETRY_S_MIN
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_S_MAX)
        volume.health.tasks[name] = ""


def _calls(volume: Volume, options: MountOptions) -> dict[str, Call]:
    def bound(command: Command) -> Call:
        async def call(args: dict[str, Any], progress: Progress) -> Any:
            with ungrouped():
                await volume.gate.opened()
                return await command(volume, args, progress)

        return call

    async def show_status(args: dict[str, Any], progress: Progress) -> Any:
        await volume.gate.opened()
        return status(volume, state="mounted", mount_point=options.mount_point, pid=os.getpid())

    return {name: bound(command) for name, command in (COMMANDS | TIER_COMMANDS).items()} | {"status": show_status}
