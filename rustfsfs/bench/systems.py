"""The systems that are compared: each makes a place below a base directory, mounted afresh, and takes it away again."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rustfsfs import __version__
from rustfsfs.bench import nullfs, processes
from rustfsfs.bench.cleaning import remove, undisturbed
from rustfsfs.bench.place import Directory, Place
from rustfsfs.errors import MachineTrouble
from rustfsfs.service import mounts
from rustfsfs.service.client import call
from rustfsfs.service.protocol import NAME as SOCKET
from rustfsfs.volume.locking import holder
from rustfsfs.volume.mountinfo import file_system_of

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
        root = _new(base / self.name)
        try:
            yield Directory(root)
        finally:
            with undisturbed():
                remove(root)


@dataclass(frozen=True, slots=True)
class Given:
    """Whatever file system a user's directory lies on; of a mount of rustfsfs more can be asked. `base` is not used."""

    folder: Path
    name: str = "here"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return file_system_of(str(self.folder))

    @contextmanager
    def mounted(self, base: Path) -> Iterator[Place]:
        root = Path(tempfile.mkdtemp(prefix="rustfsfs-bench-", dir=self.folder))
        try:
            there = mounts.covering(str(self.folder))
            if there is not None and there.fstype == mounts.FSTYPE and os.access(f"{there.source}/{SOCKET}", os.W_OK):
                yield _Volume(Path(there.source), root)
            else:
                yield Directory(root, has_own_cache=there is not None and there.fstype.startswith("fuse"))
        finally:
            with undisturbed():
                remove(root)


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

    def memory_bytes_max(self) -> int:
        return processes.memory_bytes_max(self.daemon_pid)

    def remount(self) -> None:
        raise AssertionError("not remounted")


@dataclass(frozen=True, slots=True)
class Foreground:
    """A file system whose program stays in the foreground, on top of a plain directory.

    `command` receives the plain directory and the mount point at its end. One with a password is initialised first.
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
        command, secret = [*self.command], base / f"{self.name}-password"
        if self.password is not None:
            secret.write_bytes(self.password)
            subprocess.run([self.program, "-init", "-q", "-passfile", str(secret), str(folder)], check=True)
            command += ["-passfile", str(secret)]
        said = base / f"{self.name}-log"
        with open(said, "wb") as log:  # in a session of its own: Ctrl-C is for us
            process = subprocess.Popen(
                [*command, str(folder), str(point)], stdout=log, stderr=log, start_new_session=True
            )
        try:
            if not _is_mounted(process, point):
                raise MachineTrouble(f"{self.name} did not mount: {said.read_text(errors='replace').strip()}")
            yield _Served(point, process.pid)
        finally:
            with undisturbed():
                _end(process, point)
                remove(folder, point, secret, said)


def null() -> Foreground:
    """The null file system, in a process of its own, as a daemon of rustfsfs is."""
    command = [sys.executable, "-m", nullfs.__name__]
    return Foreground("null", sys.executable, command, [sys.executable, "--version"])


def gocryptfs() -> Foreground:
    """Encryption without deduplication or journal, in Go; as it comes."""
    command = ["gocryptfs", "-fg", "-q", "-nosyslog"]
    return Foreground("gocryptfs", "gocryptfs", command, ["gocryptfs", "-version"], password=PASSWORD)


def bindfs() -> Foreground:
    """A passthrough in C, on libfuse's path interface; as it comes, but with large writes, as all others have them."""
    return Foreground("bindfs", "bindfs", ["bindfs", "-f", *_large_writes()], ["bindfs", "--version"])


def _large_writes() -> list[str]:
    """libfuse 2 sends 4 KiB at once unless it is told; libfuse 3 refuses to be told."""
    if shutil.which("bindfs") is None:
        return []
    done = subprocess.run(["bindfs", "--fuse-version"], capture_output=True, text=True, check=False)
    return ["-o", "big_writes"] if "linked version 2." in done.stdout else []


@dataclass(frozen=True, slots=True)
class Rustfsfs:
    """A new volume, mounted through the command line: its daemon is another process, all settings at their default."""

    name: str = "rustfsfs"
    mount_options: Sequence[str] = field(default=())

    def missing(self) -> str | None:
        return None if os.path.exists("/dev/fuse") else "there is no /dev/fuse, so rustfsfs is left out"

    def version(self) -> str:
        return __version__ + "".join(f" -o {option}" for option in self.mount_options)

    @contextmanager
    def mounted(self, base: Path) -> Iterator[Place]:
        key, recovery_key = base / "key", base / "recovery-key"
        place = _Volume(base / "volume", _new(base / self.name), key, self.mount_options)
        key.write_bytes(KEY)
        key.chmod(0o600)
        try:
            _run("format", place.volume, "--key-file", key, "--recovery-key-file", recovery_key)
            place.mount()
            yield place
        finally:
            with undisturbed():
                place.unmount()
                remove(place.volume, place.root, key, recovery_key)


@dataclass(slots=True)
class _Volume:
    """`Place` on a mounted volume, remounted only if its key is known."""

    volume: Path
    root: Path
    key: Path | None = None
    mount_options: Sequence[str] = ()
    can_seal: bool = True
    has_own_cache: bool = True
    _earlier_bytes_max: int = 0  # resident memory of the daemons before this one

    @property
    def can_remount(self) -> bool:
        return self.key is not None

    @property
    def daemon_pid(self) -> int | None:
        pid = holder(str(self.volume)).get("pid")
        return pid if isinstance(pid, int) else None

    def seal(self) -> None:
        call(str(self.volume), "seal", {})

    def hot_bytes(self) -> int:
        return int(call(str(self.volume), "status", {})["hot_bytes"])

    def mount(self) -> None:
        assert self.key is not None
        options = [part for option in self.mount_options for part in ("-o", option)]
        _run("mount", self.volume, self.root, "--key-file", self.key, *options)

    def memory_bytes_max(self) -> int | None:
        pid = self.daemon_pid
        return None if pid is None else max(self._earlier_bytes_max, processes.memory_bytes_max(pid))

    def remount(self) -> None:
        self._earlier_bytes_max = self.memory_bytes_max() or 0
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


def _is_mounted(process: subprocess.Popen[bytes], point: Path) -> bool:
    """Once it serves requests; not if the program ends, or takes too long."""
    until_s = time.monotonic() + MOUNT_S_MAX
    while mounts.at(str(point)) is None:
        if process.poll() is not None or time.monotonic() > until_s:
            return False
        time.sleep(0.02)
    os.statvfs(point)  # answered by the daemon
    return True


def _end(process: subprocess.Popen[bytes], point: Path) -> None:
    """Unmount, and wait for the daemon's end."""
    if mounts.at(str(point)) is not None and mounts.detach(str(point), lazy=False) is not None:
        mounts.detach(str(point), lazy=True)
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
