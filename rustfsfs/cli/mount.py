"""rustfsfs mount: checks, then a daemon that says through a pipe when it serves, or why it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import click

from rustfsfs.cli import exits
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.errors import NotAVolume, OpeningError
from rustfsfs.mount import MountOptions, serve
from rustfsfs.service import mounts
from rustfsfs.volume.directories import check_file_system, check_name


@click.command("mount")
@click.argument("volume", type=click.Path())
@click.argument("mountpoint", type=click.Path())
@open_options
@click.option("--foreground", is_flag=True, help="stay, and log to the terminal")
@click.option("--read-only", is_flag=True, help="change nothing, not even after a crash")
@click.option("--config", "config_path", type=click.Path(dir_okay=False), help="instead of VOLUME/config.toml")
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="dev, suid, ro, noatime, allow_other, noxattr")
@click.option("--degraded", is_flag=True, help="mount although a disk is missing; what lies there reads as an error")
@click.option("--skip", "skip_seq", type=int, metavar="SEQ", help="go on without the damaged journal records up to SEQ")
def command(
    volume: str,
    mountpoint: str,
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
    """Mount VOLUME on the empty directory MOUNTPOINT. Returns when the mount serves requests.

    \b
    rustfsfs mount /srv/volume /mnt --key-file /root/key -o noatime
    """
    wanted = MountOptions(
        volume=os.path.realpath(volume),
        mount_point=mounts.resolve(mountpoint),
        foreground=foreground,
        read_only=read_only,
        config_path=os.path.abspath(config_path) if config_path else None,
        options=frozenset(name for group in options for name in group.split(",") if name),
        degraded=degraded,
        skip_seq=skip_seq,
    )
    if not os.path.isdir(wanted.volume):
        raise NotAVolume(f"{volume} is not a rustfsfs volume")
    check_name(wanted.volume)
    check_file_system(wanted.volume)
    detach_dead(wanted.mount_point)
    secret = read_secret(passphrase_file, key_file, recovery_key_file)
    if foreground:
        serve(wanted, secret, lambda: click.echo(f"{wanted.volume} is mounted on {wanted.mount_point}"))
        return exits.DONE
    return start_daemon(lambda ready: serve(wanted, secret, ready), wanted.volume)


def detach_dead(point: str) -> None:
    """A mount of ours whose daemon is gone is taken off the point first; anything else is left alone."""
    if mounts.ours_at(point) is None or not mounts.is_dead(point):
        return
    tool = ["umount", "-l", point] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", point]
    subprocess.run(tool, check=False, capture_output=True)


def start_daemon(work: Callable[[Callable[[], None]], None], folder: str) -> int:
    """Run `work` in a process of its own, away from the terminal; returns when it is ready or has ended.

    Forks before any thread exists. Raises OpeningError with the daemon's sentence.
    """
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.close(read_end)
        _become_daemon(work, write_end, folder)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as said:
        message = said.read()
    os.wait()
    if not message:
        raise DaemonFailed(f"the daemon ended without a word; its log is {folder}/rustfsfs.log", exits.BUG)
    found = json.loads(message)
    if found["exit"] != exits.DONE:
        raise DaemonFailed(found["error"], found["exit"])
    return exits.DONE


class DaemonFailed(OpeningError):
    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def _become_daemon(work: Callable[[Callable[[], None]], None], write_end: int, folder: str) -> None:
    """The second half of a double fork. Never returns."""
    os.setsid()
    if os.fork():
        os._exit(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    open_end: list[int] = [write_end]

    def say(code: int, text: str) -> None:
        if open_end:
            os.write(open_end[0], json.dumps({"exit": code, "error": text}).encode())
            os.close(open_end.pop())

    code = exits.DONE
    try:
        work(lambda: say(exits.DONE, ""))
    except BaseException as exc:
        code, text = exits.code_of(exc), exits.sentence_of(exc)
        if code == exits.BUG:
            text += f"; the traceback is in {exits.log_bug(exc, folder)}"
        say(code, text)
    sys.stdout.flush()
    os._exit(code)
