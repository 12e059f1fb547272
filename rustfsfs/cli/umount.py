"""rustfsfs umount."""

import os
import select

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.mount import detach_dead
from rustfsfs.errors import InUse, MachineTrouble, NotAVolume
from rustfsfs.service import mounts
from rustfsfs.siteconfig import Site
from rustfsfs.volume.locking import holder, last_trouble

NAMED_MAX = 10  # processes in one message


@click.command("umount")
@click.argument("mountpoint", type=places.PATH, metavar=places.MOUNTED)
@click.option("--lazy", is_flag=True, help="detach now, even while processes use it; the daemon ends when they have")
def command(mountpoint: str, lazy: bool) -> int:
    """Unmount MOUNTPOINT, or NAME wherever it is mounted. Returns when all is committed and the daemon is gone.

    Exit code 5 while programs use it.

    \b
    rustfsfs umount /mnt
    """
    site = places.site_of(mountpoint)
    point = mounts.resolve(mountpoint) if site is None else _point_of(site)
    there = mounts.ours_at(point)
    if there is None:
        raise NotAVolume(f"{mountpoint} is not the mount point of a rustfsfs volume")
    mounts.refuse_of_others(there)
    if mounts.is_dead(point):
        detach_dead(point)
        return exits.DONE
    pid = holder(there.source).get("pid")
    daemon = _watch(pid) if isinstance(pid, int) else None
    try:
        _detach(point, lazy=lazy)
        if daemon is not None and not lazy:
            _wait_until_gone(daemon)
            _report_end(there.source)
    finally:
        if daemon is not None:
            os.close(daemon)
    return exits.DONE


def _point_of(site: Site) -> str:
    """Where it is mounted, if that is elsewhere than its file says too; or a mount there whose daemon is gone.

    Raises NotAVolume, UsageError, MachineTrouble.
    """
    volume = os.path.realpath(site.mount.volume)
    point = next((mount.point for mount in reversed(mounts.mounts()) if is_of(mount, volume)), None)
    if point is None:
        raise NotAVolume(f"{site.name} is not mounted")
    return point


def is_of(mount: mounts.Mount, volume: str) -> bool:
    return mount.fstype == mounts.FSTYPE and mount.source == volume


def _report_end(volume: str) -> None:
    """Raises MachineTrouble if the daemon could not close the volume in good order."""
    trouble = last_trouble(volume)
    if trouble is not None:
        raise MachineTrouble(
            f"{volume} is unmounted, but was not closed in good order ({trouble});"
            " nothing is lost: the next mount recovers it"
        )


def _watch(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _wait_until_gone(daemon: int) -> None:
    """A pidfd becomes readable when its process ends (pidfd_open(2))."""
    select.select([daemon], [], [])


def _detach(point: str, *, lazy: bool) -> None:
    trouble = mounts.detach(point, lazy=lazy)
    if trouble is None:
        return
    users = processes_using(point)
    if users:
        raise InUse(f"{point} is in use by {', '.join(users)}; end them, or use --lazy")
    raise InUse(f"{point} cannot be unmounted: {trouble}")


def processes_using(point: str) -> list[str]:
    """`name (pid)` of processes with a file, directory or mapping below `point`; those we may look at."""
    device = _device_of(point)
    found = []
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        if int(name) != os.getpid() and _uses(f"/proc/{name}", point, device):
            found.append(f"{_command_of(name)} ({name})")
        if len(found) == NAMED_MAX:
            break
    return found


def _device_of(point: str) -> str:
    there = mounts.ours_at(point)
    return there.device if there is not None else ""


def _uses(process: str, point: str, device: str) -> bool:
    try:
        links = [f"{process}/cwd", f"{process}/root", f"{process}/exe"]
        links += [f"{process}/fd/{fd}" for fd in os.listdir(f"{process}/fd")]
    except OSError:
        return False
    for link in links:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target == point or target.startswith(point + "/"):
            return True
    try:
        major, _colon, minor = device.partition(":")
        wanted = f" {int(major or 0):02x}:{int(minor or 0):02x} "
        with open(f"{process}/maps", encoding="utf-8", errors="replace") as maps:
            return any(wanted in line for line in maps)
    except OSError:
        return False


def _command_of(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process"
