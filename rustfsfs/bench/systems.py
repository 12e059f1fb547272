"""The systems that are compared: each makes a place below a base directory, mounted afresh, and takes it away again."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rustfsfs.bench import nullfs, processes
from rustfsfs.bench.place import Directory, Place
from rustfsfs.errors import MachineTrouble
from rustfsfs.service import mounts
from rustfsfs.service.client import call
from rustfsfs.volume.locking import holder

MOUNT_S_MAX = 30.0  # a foreground mount that is not there by then will not come
END_S_MAX = 60.0
KEY = bytes(range(32))  # it protects nothing
PASSWORD = b"benchmark\n"


class System(Protocol):
    """One column of the table."""

    @property
    def name(self) -> str: ...

    def missing(self) -> str | None:
        """Why it cannot be measured here, in one sentence; None: it can."""
        ...

    def mounted(self, base: Path) -> AbstractContextManager[Place]:
        """A new, empty file system; whatever happens, nothing is left of it below `base`. Raises MachineTrouble."""
        ...

    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PlainDisk:
    """The file system that `base` lies on: what all the others stand upon."""

    name: str = "disk"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return os.uname().release

    @contextmanager
    def mounted(self, base: Path) -> Iterator[Place]:
        root = _new(base / "disk")
        try:
            yield Directory(root)
        finally:
            shutil.rmtree(root, ignore_errors=True)


@dataclass(slots=True)
class _Served:
    """`Place` on a mount whose daemon we started in the foreground; it is not remounted."""

    root: Path
    daemon_pid: int
    can_seal: bool = False
    can_remount: bool = False
    has_own_cache: bool = True

    def seal(self) -> None:
        pass

    def hot_bytes(self) -> int:
        return 0

    def remount(self) -> None:
        raise AssertionError("not remounted")


@dataclass(frozen=True, slots=True)
class Foreground:
    """A file system whose program stays in the foreground, on top of a plain directory.

    `command` receives the plain directory and the mount point at its end; `prepare` makes the directory what it wants.
    """

    name: str
    program: str
    command: Sequence[str]
    version_command: Sequence[str]
    password: bytes | None = None

    def missing(self) -> str | None:
        if shutil.which(self.program) is None:
            return f"{self.name} is not installed (Debian: apt-get install {self.program}), so it is left out"
        return None

    def version(self) -> str:
        done = subprocess.run(self.version_command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).partition("\n")[0]

    @contextmanager
    def mounted(self, base: Path) -> Iterator[Place]:
        folder, point = _new(base / f"{self.name}-data"), _new(base / self.name)
        command = [*self.command]
        if self.password is not None:
            secret = base / f"{self.name}-password"
            secret.write_bytes(self.password)
            subprocess.run([self.program, "-init", "-q", "-passfile", str(secret), str(folder)], check=True)
            command += ["-passfile", str(secret)]
        process = subprocess.Popen([*command, str(folder), str(point)], stdout=subprocess.DEVNULL)
        try:
            _wait_for_mount(process, point)
            yield _Served(point, process.pid)
        finally:
            _end(process, point)
            for path in (folder, point):
                shutil.rmtree(path, ignore_errors=True)


def null() -> Foreground:
    """The null file system, in a process of its own, as a daemon of rustfsfs is."""
    command = [sys.executable, "-m", nullfs.__name__]
    return Foreground("null", sys.executable, command, [sys.executable, "--version"])


def gocryptfs() -> Foreground:
    """Encryption without deduplication or journal, in Go; as it comes."""
    command = ["gocryptfs", "-fg", "-q", "-nosyslog"]
    return Foreground("gocryptfs", "gocryptfs", command, ["gocryptfs", "-version"], password=PASSWORD)


def bindfs() -> Foreground:
    """A passthrough in C, on libfuse's path interface; as it comes."""
    return Foreground("bindfs", "bindfs", ["bindfs", "-f"], ["bindfs", "--version"])


@dataclass(frozen=True, slots=True)
class Rustfsfs:
    """A new volume, mounted through the command line: its daemon is another process, all settings at their default."""

    name: str = "rustfsfs"
    mount_options: Sequence[str] = field(default=())

    def missing(self) -> str | None:
        return None if os.path.exists("/dev/fuse") else "there is no /dev/fuse, so rustfsfs is left out"

    def version(self) -> str:
        return _run("--version").strip() + "".join(f" -o {option}" for option in self.mount_options)

    @contextmanager
    def mounted(self, base: Path) -> Iterator[Place]:
        place = _Volume(base / "volume", _new(base / "rustfsfs"), base / "key", self.mount_options)
        place.key.write_bytes(KEY)
        place.key.chmod(0o600)
        try:
            _run("format", place.volume, "--key-file", place.key, "--recovery-key-file", base / "recovery-key")
            place.mount()
            yield place
        finally:
            place.unmount()
            for path in (place.volume, place.root):
                shutil.rmtree(path, ignore_errors=True)
            for path in (place.key, base / "recovery-key"):
                path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Volume:
    """`Place` on a mounted volume."""

    volume: Path
    root: Path
    key: Path
    mount_options: Sequence[str]
    can_seal: bool = True
    can_remount: bool = True
    has_own_cache: bool = True

    @property
    def daemon_pid(self) -> int | None:
        pid = holder(str(self.volume)).get("pid")
        return pid if isinstance(pid, int) else None

    def seal(self) -> None:
        call(str(self.volume), "seal", {})

    def hot_bytes(self) -> int:
        return int(call(str(self.volume), "status", {})["hot_bytes"])

    def mount(self) -> None:
        options = [part for option in self.mount_options for part in ("-o", option)]
        _run("mount", self.volume, self.root, "--key-file", self.key, *options)

    def remount(self) -> None:
        _run("umount", self.root)
        self.mount()

    def unmount(self) -> None:
        """As it should be; if that fails, all the same."""
        if mounts.ours_at(str(self.root)) is None:
            return
        pid = self.daemon_pid
        with suppress(MachineTrouble):
            _run("umount", self.root)
            return
        mounts.detach(str(self.root), lazy=True)
        if pid is not None:
            processes.wait_for_end(pid, END_S_MAX)


def _run(*arguments: str | Path) -> str:
    """A command of rustfsfs; its output. Raises MachineTrouble with its sentence."""
    command = [sys.executable, "-m", "rustfsfs", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise MachineTrouble(f"rustfsfs {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _new(path: Path) -> Path:
    path.mkdir()
    return path


def _wait_for_mount(process: subprocess.Popen[bytes], point: Path) -> None:
    """Raises MachineTrouble if the program ends, or takes too long."""
    until_s = time.monotonic() + MOUNT_S_MAX
    while mounts.at(str(point)) is None:
        if process.poll() is not None or time.monotonic() > until_s:
            raise MachineTrouble(f"{process.args!r} did not mount")
        time.sleep(0.02)
    os.statvfs(point)  # answered by the daemon: from now on it serves


def _end(process: subprocess.Popen[bytes], point: Path) -> None:
    """Unmount, and wait for the daemon's end."""
    if mounts.at(str(point)) is not None and mounts.detach(str(point), lazy=False) is not None:
        mounts.detach(str(point), lazy=True)
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
