"""The composition root: configuration → World → Volume → tasks, control socket and FUSE in one nursery."""

import errno
import gc
import os
import resource
import shutil
import signal
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import trio

from rustfsfs.config import Config, config_of
from rustfsfs.errors import EndedEarly, InUse, MachineTrouble, NoSpace, NotAVolume, RustfsfsError, UsageError
from rustfsfs.fuse import number, session
from rustfsfs.fuse.ops import Operations
from rustfsfs.listening import Listen, UnixSocket, parse_listen
from rustfsfs.service import journald, logs, mounts, notify, reloading
from rustfsfs.service.control import Call, Progress, run_control
from rustfsfs.service.notify import Notifier
from rustfsfs.service.protocol import check_arguments
from rustfsfs.service.reloading import Sources
from rustfsfs.service.supervision import answered, run_alive, run_extending, told_reloading
from rustfsfs.service.watching import run_metrics
from rustfsfs.siteconfig import Site
from rustfsfs.store.headers import VOLUME_HEADER
from rustfsfs.tasks.collector import run_collector
from rustfsfs.tasks.damage import run_damage
from rustfsfs.tasks.disks import run_disks
from rustfsfs.tasks.epochs import run_epochs
from rustfsfs.tasks.mover import run_mover
from rustfsfs.tasks.publisher import run_publisher
from rustfsfs.tasks.readahead import run_readahead
from rustfsfs.tasks.reaper import run_reaper
from rustfsfs.tasks.restorer import run_restorer
from rustfsfs.tasks.scrubber import run_scrubber
from rustfsfs.tasks.sealer import run_sealer
from rustfsfs.tasks.segments import run_segments
from rustfsfs.tasks.snapshots import run_snapshots
from rustfsfs.tasks.sweeper import run_sweeper
from rustfsfs.tasks.warmth import run_warmth
from rustfsfs.units import format_size
from rustfsfs.volume.commands import COMMANDS, Command
from rustfsfs.volume.figures import figures_and_space
from rustfsfs.volume.formatting import CONFIG, METADATA, Secret
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.header import listed_disks
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.status import status
from rustfsfs.volume.tiercommands import COMMANDS as TIER_COMMANDS
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import World, share_one_heap

STRICT = "nfs=strict"  # what a reply says was made or changed is durable before it
KNOWN_OPTIONS = (
    *("dev", "suid", "exec", "nodev", "nosuid", "noexec", "ro", "rw"),
    *("noatime", "allow_other", "noxattr", "writeback", STRICT, "defaults"),
)
_CAREFUL = (("suid", "nosuid"), ("dev", "nodev"))  # an option of NAME.toml may be taken back by one of fstab
RETRY_S_MIN, RETRY_S_MAX = 1.0, 60.0  # a task that failed is started again after
FULL_S = 5.0  # at the most, if the disks were full: space that was freed is to be seen, and some tasks free more


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
READING_TASKS: dict[str, Task] = {
    "damage": run_damage,
    "disks": run_disks,
    "readahead": run_readahead,
    "restorer": run_restorer,
    "warmth": run_warmth,
}


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
    site: Site | None = None  # of a volume that was named by its NAME

    @property
    def metrics_listen(self) -> str:
        """As `listening.parse_listen` takes it; nowhere if empty."""
        return "" if self.site is None else self.site.metrics.listen

    @property
    def sources(self) -> Sources:
        """Where its settings come from."""
        own = self.config_path or f"{self.volume}/{CONFIG}"
        return Sources(own=own, must_exist=self.config_path is not None, site=self.site)


@dataclass(slots=True)
class Life:
    """What one process of a mount goes through, told to its supervisor as well."""

    notifier: Notifier
    served: bool = False  # who waits for the mount has heard that it serves
    ending: trio.Event = field(default_factory=trio.Event)  # a signal told it to end


def is_read_only(options: MountOptions) -> bool:
    return options.read_only or "ro" in options.options


def serve(world: World, options: MountOptions, secret: Secret, ready: Ready) -> None:
    """Mount and answer until unmounted. Calls `ready`, in a thread, once requests are served. Raises OpeningError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it means `reload`, and nothing before the volume is open
    life = Life(notify.from_environment(os.environ) if options.foreground else Notifier(None))
    share_one_heap()
    check_machine(world, options)
    config = config_of(reloading.read(options.sources))
    place = logs.Place(volume=options.volume, mount_point=options.mount_point, foreground=options.foreground)
    handler = logs.start(place, config.log.level)
    try:
        os.umask(0)
        os.chdir("/")
        raise_file_limit()
        with logs.stacks_when_aborted(place):
            trio.run(_serve, world, options, config, secret, ready, life)
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
    check_mount_point(world, options.volume, options.mount_point)
    metrics_of(options)


def metrics_of(options: MountOptions) -> Listen | None:
    """Where metrics are to be served, if they are. Raises UsageError."""
    listen = parse_listen(options.metrics_listen)
    if isinstance(listen, UnixSocket) and mounts.is_inside(os.path.realpath(listen.path), options.mount_point):
        raise UsageError(f"metrics cannot be served on {listen}, which lies inside the mount itself; name another path")
    return listen


def check_mount_point(world: World, volume: str, point: str) -> None:
    """Raises MachineTrouble, InUse, UsageError."""
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
    for folder in [volume, *listed_disks(world, volume)]:
        if mounts.is_inside(point, os.path.realpath(folder)) or mounts.is_inside(os.path.realpath(folder), point):
            raise UsageError(f"the mount point {point} lies inside or around {folder}, which holds the volume")


def fuse_options(options: MountOptions) -> set[str]:
    """What the kernel is told: permissions are its work; nosuid and nodev unless asked otherwise."""
    source = options.volume.replace("\\", "\\\\").replace(",", "\\,")  # libfuse takes both away again
    found = {f"fsname={source}", "subtype=rustfsfs", "default_permissions"}
    found.update(yes if yes in options.options and no not in options.options else no for yes, no in _CAREFUL)
    if os.geteuid() == 0 or "allow_other" in options.options:
        found.add("allow_other")
    if is_read_only(options):
        found.add("ro")
    found.update({"noatime", "noexec"} & options.options)
    return found


async def _serve(world: World, options: MountOptions, config: Config, secret: Secret, ready: Ready, life: Life) -> None:
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
    with ungrouped():
        async with trio.open_nursery() as nursery:
            await nursery.start(_note_signals, life)
            nursery.start_soon(run_extending, life.notifier)
            async with opened_volume(world, how) as volume:
                if not life.ending.is_set():  # else it was opened, as that is never cut short, and is closed in order
                    await _serve_volume(volume, options, ready, life)
            nursery.cancel_scope.cancel()
    if life.ending.is_set() and not life.served:
        raise EndedEarly(f"a signal ended the mount of {options.volume} before it served; nothing is mounted")


async def _serve_volume(volume: Volume, options: MountOptions, ready: Ready, life: Life) -> None:
    asked = options.options
    operations = Operations(volume, noxattr="noxattr" in asked, writeback="writeback" in asked, strict=STRICT in asked)
    spare_collector()
    begin(volume, operations, options)
    unmounted = False

    async def reload() -> dict[str, Any]:
        in_short = partial(_in_short, volume, options.mount_point)
        return await reloading.reload(volume, options.sources, partial(told_reloading, life.notifier, in_short))

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(run_control, volume.path, calls(volume, options, reload))
            for name, task in (_tasks(volume) | _watching(options)).items():
                nursery.start_soon(_keep_running, volume, name, task)
            nursery.start_soon(_end_when_told, life)
            await nursery.start(reloading.run_on_hangup, reload)
            log.info("mounted on %s by process %d", options.mount_point, os.getpid())
            nursery.start_soon(_announce, volume, options.mount_point, ready, life)
            await session.run(lambda: _threads_work(volume))
            unmounted = mounts.ours_at(options.mount_point) is None
            nursery.cancel_scope.cancel()
    finally:
        life.notifier.stopping("closing the volume")
        session.close(unmount=not unmounted)
        log.info("unmounted from %s", options.mount_point)


def begin(volume: Volume, operations: Operations, options: MountOptions) -> None:
    """Mount; for NFS with the number that handles have in them. Raises MachineTrouble."""
    if STRICT not in options.options:
        session.begin(operations, options.mount_point, fuse_options(options))
        return
    wanted = number.number_of(volume.header.uuid)
    with number.next_is(wanted):
        session.begin(operations, options.mount_point, fuse_options(options))
    there = mounts.ours_at(options.mount_point)
    if there is not None and there.device != f"0:{wanted}":
        log.warning(
            "the mount's device is %s, since 0:%d was not to be had: handles that clients of NFS-Ganesha have from "
            "before may be stale; stop what uses the old mount, and mount again",
            *(there.device, wanted),
        )


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


def _watching(options: MountOptions) -> dict[str, Task]:
    """A task like the others: where it cannot listen, `status` says so, it is tried again, and the mount serves."""
    listen = metrics_of(options)
    return {} if listen is None else {"metrics": partial(run_metrics, listen=listen)}


async def _announce(volume: Volume, mount_point: str, ready: Ready, life: Life) -> None:
    """Once a request was answered, tune the mount and say ready; from then on tell that it lives."""
    await answered(mount_point)
    there = mounts.ours_at(mount_point)
    if there is not None:
        session.tune(there.device)

    def say() -> None:
        ready(volume.health.trouble)
        life.served = True
        life.notifier.ready(_in_short(volume, mount_point))

    await trio.to_thread.run_sync(say)
    await run_alive(life.notifier, lambda: answered(mount_point), lambda: _in_short(volume, mount_point))


def _in_short(volume: Volume, mount_point: str) -> str:
    """A line for `systemctl status`."""
    used, limit = format_size(volume.journal.used_bytes), format_size(volume.journal_limit_bytes)
    found = [f"serves {mount_point}", f"journal {used} of {limit}"]
    if volume.health.read_only_reason is not None:
        found.append(f"read-only: {volume.health.read_only_reason}")
    found += [f"{name} fails: {error}" for name, error in sorted(volume.health.tasks.items()) if error]
    return "; ".join(found)


async def _note_signals(life: Life, *, task_status: trio.TaskStatus[None]) -> None:
    """From before the volume is opened until it is closed. More than one say no more than the first."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            log.info("ending: signal %d", number)
            life.notifier.stopping("told to end by a signal")
            life.ending.set()


async def _end_when_told(life: Life) -> None:
    await life.ending.wait()
    session.end()


async def _keep_running(volume: Volume, name: str, task: Task) -> None:
    """A task that fails is logged, shown in status, and started again; the mount goes on."""
    journald.task_name.set(name)
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
            pause_s = min(pause_s, FULL_S) if isinstance(exc, NoSpace) else pause_s
        except Exception as exc:
            log.exception("the task %s failed and is tried again: a bug of rustfsfs", name)
            volume.health.tasks[name] = repr(exc)
        if trio.current_time() - started_s > RETRY_S_MAX:
            pause_s = RETRY_S_MIN
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_S_MAX)
        volume.health.tasks[name] = ""


def calls(volume: Volume, options: MountOptions, reload: Callable[[], Awaitable[object]]) -> dict[str, Call]:
    """What the control socket takes, by name; documented in man/rustfsfs-control.7.md."""

    def checked(name: str, call: Call) -> Call:
        async def checked_call(args: dict[str, Any], progress: Progress) -> Any:
            return await call(check_arguments(name, args), progress)

        return checked_call

    def bound(command: Command) -> Call:
        async def call(args: dict[str, Any], progress: Progress) -> Any:
            with ungrouped():
                await volume.gate.opened()
                return await command(volume, args, progress)

        return call

    async def show_status(args: dict[str, Any], progress: Progress) -> Any:
        await volume.gate.opened()
        shown = await status(volume, state="mounted", mount_point=options.mount_point, pid=os.getpid())
        shown["volume"]["nfs_strict"] = STRICT in options.options
        return shown | {"metrics": options.metrics_listen or None}

    async def show_figures(args: dict[str, Any], progress: Progress) -> Any:
        return await figures_and_space(volume) | {"mount_point": options.mount_point, "pid": os.getpid()}

    async def reload_settings(args: dict[str, Any], progress: Progress) -> Any:
        return await reload()

    own = {"status": show_status, "top": show_figures, "reload": reload_settings}
    found = {name: bound(command) for name, command in (COMMANDS | TIER_COMMANDS).items()} | own
    return {name: checked(name, call) for name, call in found.items()}
