"""rustfsfs mount: checks, then a daemon that says through a pipe when it serves, or why it does not."""

import json
import os
import signal
import socket
from collections.abc import Callable

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.secrets import Secret, open_options, read_secret
from rustfsfs.errors import NotAVolume, OpeningError, UsageError
from rustfsfs.mount import STRICT, MountOptions, Ready, serve
from rustfsfs.service import mounts, sites
from rustfsfs.siteconfig import Nfs, Site
from rustfsfs.volume.directories import check_file_system
from rustfsfs.world import real_world

HEARD = b"."
ANSWER_SIZE_MAX = 1 << 16  # one sentence


@click.command("mount")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
@click.argument("mountpoint", type=places.PATH, required=False)
@open_options
@click.option("--foreground", is_flag=True, help="stay, and log to the terminal; Ctrl-C unmounts")
@click.option("--read-only", is_flag=True, help="change nothing, not even after a crash")
@click.option("--config", "config_path", type=places.FILE, help="settings, instead of VOLUME/config.toml")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="OPTIONS",
    help="with commas: dev, suid, noexec, ro, noatime, allow_other, noxattr, writeback, nfs=strict;"
    " `rustfsfs help commands` says what they do",
)
@click.option("--degraded", is_flag=True, help="mount although a disk is missing; what lies there reads as an error")
@click.option("--skip", "skip_seq", type=int, metavar="SEQ", help="go on without the damaged journal records up to SEQ")
def command(
    volume: str,
    mountpoint: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    foreground: bool,
    read_only: bool,
    config_path: str | None,
    options: tuple[str, ...],
    degraded: bool,
    skip_seq: int | None,
) -> int:
    """Mount VOLUME on the empty directory MOUNTPOINT, or NAME where its file says.

    Returns when the mount serves requests. After a crash nothing else has to be done.

    \b
    rustfsfs mount /srv/volume /mnt --key-file /root/key -o noatime
    rustfsfs mount home
    """
    site = places.site_of(volume)
    named = frozenset(name.strip() for group in options for name in group.split(",") if name.strip())
    wanted = MountOptions(
        volume=os.path.realpath(volume if site is None else site.mount.volume),
        mount_point=mounts.resolve(point_of(volume, mountpoint, site)),
        foreground=foreground,
        read_only=read_only or (site is not None and site.mount.read_only),
        config_path=os.path.abspath(config_path) if config_path else None,
        options=named if site is None else named | options_of(site),
        degraded=degraded or (site is not None and site.mount.degraded),
        skip_seq=skip_seq,
        site=site,
    )
    if site is not None:
        places.ensure_there(site)
    if not os.path.isdir(wanted.volume):
        raise NotAVolume(f"{wanted.volume} is not a rustfsfs volume")
    places.ensure_readable(wanted.volume)
    check_file_system(wanted.volume)
    detach_dead(wanted.mount_point)
    secret = read_secret(passphrase_file, key_file, recovery_key_file, site=site)
    if foreground:
        return _stay(wanted, secret)
    return start_daemon(lambda ready: serve(real_world(), wanted, secret, ready), wanted.volume)


def options_of(site: Site) -> frozenset[str]:
    """As of -o."""
    return frozenset([*site.mount.options, *([STRICT] if site.mount.nfs is Nfs.STRICT else [])])


def point_of(volume: str, mountpoint: str | None, site: Site | None) -> str:
    """What is named here goes before what NAME.toml says. Raises UsageError."""
    if mountpoint is not None:
        return mountpoint
    if site is None:
        raise UsageError(
            f"name a MOUNTPOINT behind {volume}; without one it has to be a NAME in {sites.folder(os.environ)}"
        )
    if not site.mount.point:
        raise UsageError(f"{site.path} has no mount.point; write one there, or name a MOUNTPOINT behind {volume}")
    return site.mount.point


def _stay(wanted: MountOptions, secret: Secret) -> int:
    def ready(trouble: str | None) -> None:
        exits.echo(f"{wanted.volume} is mounted on {wanted.mount_point}")
        warn(trouble)

    serve(real_world(), wanted, secret, ready)
    return exits.DONE


def detach_dead(point: str) -> None:
    """A mount of ours whose daemon is gone is taken off the point first; anything else is left alone."""
    if mounts.ours_at(point) is not None and mounts.is_dead(point):
        mounts.detach(point, lazy=True)


def start_daemon(work: Callable[[Ready], None], folder: str) -> int:
    """Run `work` in a process of its own, away from the terminal; returns when it is ready or has ended.

    The daemon goes on only when it was heard: interrupted before that, it gives up. Forks before any thread exists.
    Raises OpeningError with the daemon's sentence.
    """
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _become_daemon(work, theirs, folder)
    theirs.close()
    with ours:
        os.wait()
        message = ours.recv(ANSWER_SIZE_MAX)
        if not message:
            raise DaemonFailed(f"the daemon ended without a word; its log is {folder}/rustfsfs.log", exits.BUG)
        found = json.loads(message)
        if found["exit"] != exits.DONE:
            raise DaemonFailed(found["text"], found["exit"])
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # from here on the volume is mounted
        ours.send(HEARD)
    warn(found["text"])
    return exits.DONE


def warn(trouble: str | None) -> None:
    if trouble:
        exits.say(f"warning: the volume can only be read now: {trouble}")


class DaemonFailed(OpeningError):
    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class NobodyWaits(OpeningError):
    """Whoever asked for the mount was interrupted."""


class Teller:
    """The daemon's end: one answer, and whether it was heard."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream: socket.socket | None = stream

    def ready(self, trouble: str | None) -> None:
        """Raises NobodyWaits."""
        if not self.tell(exits.DONE, trouble):
            raise NobodyWaits("nobody waits for the mount any more; it is given up")

    def tell(self, code: int, text: str | None) -> bool:
        """Only the first call says anything. Was it heard?"""
        stream, self._stream = self._stream, None
        if stream is None:
            return False
        with stream:
            try:
                stream.send(json.dumps({"exit": code, "text": text}).encode())
                return stream.recv(1) == HEARD
            except OSError:
                return False


def _become_daemon(work: Callable[[Ready], None], stream: socket.socket, folder: str) -> None:
    """The second half of a double fork. Never returns."""
    os.setsid()
    if os.fork():
        os._exit(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    teller, code = Teller(stream), exits.DONE
    try:
        work(teller.ready)
    except BaseException as exc:
        code, text = exits.code_of(exc), exits.sentence_of(exc)
        if code == exits.BUG:
            text += f"; the traceback is in {exits.log_bug(exc, folder)}"
        teller.tell(code, text)
    os._exit(code)
