"""A volume and its mount, for tests: everything goes through the command line, and the daemon is another process."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMEOUT_S = 120


class Mounted:
    """VOLUME in base/volume, its key in base/key, its mount point base/mnt."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.volume = base / "volume"
        self.point = base / "mnt"
        self.key = base / "key"
        self.point.mkdir(exist_ok=True)
        self.key.write_bytes(bytes(range(32)))
        self.key.chmod(0o600)

    def run(
        self, *arguments: str | Path, check: bool = True, module: str = "rustfsfs"
    ) -> subprocess.CompletedProcess[str]:
        """rustfsfs with these arguments; fails the test on another exit code than 0 if `check`."""
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def format(self, *more: str | Path) -> None:
        recovery = self.base / "recovery"
        self.run("format", self.volume, "--key-file", self.key, "--recovery-key-file", recovery, *more)

    def mount(self, *more: str | Path) -> None:
        self.run("mount", self.volume, self.point, "--key-file", self.key, *more)

    def umount(self) -> None:
        self.run("umount", self.point)

    def remount(self, *more: str | Path) -> None:
        self.umount()
        self.mount(*more)

    @property
    def pid(self) -> int:
        return int(json.loads((self.volume / "lock").read_text())["pid"])

    def kill(self) -> None:
        """SIGKILL the daemon, wait until it is gone, take the dead mount off."""
        watch = os.pidfd_open(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        select.select([watch], [], [], TIMEOUT_S)
        os.close(watch)
        subprocess.run(["umount", "-l", str(self.point)], check=False, capture_output=True)

    def status(self) -> dict[str, Any]:
        done = self.run("status", self.point, "--json", check=False)
        assert done.returncode in (0, 7), done
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["healthy"] else 7), done
        return found

    def seal(self) -> None:
        self.run("seal", self.point)

    def fsck(self, *more: str) -> list[str]:
        """Findings, from the mounted or the unmounted volume."""
        done = self.run("fsck", self.volume, "--key-file", self.key, *more, check=False)
        assert done.returncode in (0, 7), done
        return done.stdout.splitlines()[:-1]

    def end(self) -> None:
        """End the daemon, if there is one; what it held of the disk is free then."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.kill()
        subprocess.run(["umount", "-l", str(self.point)], check=False, capture_output=True)

    def clean_up(self) -> None:
        """End the daemon, and free the disk: a volume holds 1 % of it as its ballast."""
        self.end()
        for name in ("ballast", "journal", "packs"):
            path = self.volume / name
            with contextlib.suppress(OSError):  # it may be read-only by now
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, *, size_mib: int, inodes: int | None = None) -> Iterator[Path]:
    """An ext4 of its own, mounted at folder/disk; its image is folder/image. An error in it makes it read-only."""
    image, point = folder / "image", folder / "disk"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(size_mib << 20)
    few = ["-N", str(inodes)] if inodes else []
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", *few, str(image)], check=True)
    attach_disk(folder)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False)
        image.unlink()


def attach_disk(folder: Path) -> None:
    """Mount a small disk, again if it was unmounted."""
    options = "loop,errors=remount-ro"
    subprocess.run(["mount", "-o", options, str(folder / "image"), str(folder / "disk")], check=True)
