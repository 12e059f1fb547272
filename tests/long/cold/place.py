"""A mounted volume with a bucket behind it, for the acceptance; its server in this process or in its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rustfsfs.service import client
from rustfsfs.units import MIB
from tests.mounted import Mounted
from tests.oss_server import OssServer

# The disk that runs the tests may be full in its owner's eyes; here it is not what is tested
ANY_DISK = "[demote]\nhigh = 0.999\nlow = 0.998\n"
KEY = ("LTAIcoldcoldcold", "secretsecretsecretsecret")
PREFIX = "v"
SHOWN_MAX = 5


class Server:
    """The server as a program of its own, where what it needs of the processor is not the test's."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self._port = 0
        self.start()

    def start(self) -> None:
        """Again on the same port, over the same objects."""
        command = [sys.executable, "-m", "tests.oss_server", "--dir", str(self.folder), "--port", str(self._port)]
        environment = os.environ | {"OSS_ACCESS_KEY_ID": KEY[0], "OSS_ACCESS_KEY_SECRET": KEY[1]}
        self._process = subprocess.Popen(
            [*command, *self._arguments], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout is not None
        said = dict(self._process.stdout.readline().split() for _ in range(3))
        self.endpoint, self.region = said["endpoint"], said["region"]
        self._port = int(self.endpoint.rpartition(":")[2])

    def shape(self, *arguments: str) -> None:
        """Start it again with another network."""
        self._arguments = arguments
        self.start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.communicate(timeout=60)

    def hang(self) -> None:
        """As a network that swallows everything: connections are taken by the kernel, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class ColdVolume(Mounted):
    """A volume that is formatted, attached and mounted by the command line."""

    def name_place(self, oss: OssServer | Server) -> None:
        """`place` is how the server's bucket is named to `bucket attach` from now on."""
        key = (oss.key_id, oss.secret) if isinstance(oss, OssServer) else KEY
        credentials = self.base / "credentials"
        credentials.write_text(f'access_key_id = "{key[0]}"\naccess_key_secret = "{key[1]}"\n')
        credentials.chmod(0o600)
        self.place = [f"oss://packs/{PREFIX}", "--endpoint", oss.endpoint, "--region", oss.region]
        self.place += ["--credentials", str(credentials)]

    def attach(self, oss: OssServer | Server, *, config: str = "") -> None:
        """Format it, with these settings, and put the server's bucket behind it."""
        self.name_place(oss)
        self.format()
        (self.volume / "config.toml").write_text(config if "[demote]" in config else ANY_DISK + config)
        self.run("bucket", "attach", self.volume, *self.place, "--key-file", self.key)

    def mount(self, *more: str | Path) -> None:
        super().mount(*more)
        (self.volume / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests

    def call(self, name: str, **args: object) -> Any:
        """A call of the control socket. Raises CallFailed."""
        return client.call(str(self.volume), name, args)

    def demote(self) -> dict[str, Any]:
        """All of it, and nothing is left on the disk."""
        done: dict[str, Any] = self.call("tier_demote", paths=[])
        assert not done["kept"], done
        assert not self.packs(), f"{len(self.packs())} packs are still on the disk"
        return done

    def packs(self) -> list[Path]:
        return list(self.volume.rglob("*.pack"))

    def forget(self) -> None:
        """What readers kept of the bucket is gone: on the cache disk, in the daemon's memory and in the kernel's."""
        self.umount()
        shutil.rmtree(self.volume / "cold", ignore_errors=True)
        self.mount()

    def tier(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("status")["bucket"]
        return found

    @property
    def log(self) -> str:
        return (self.volume / "rustfsfs.log").read_text(errors="replace")


@contextlib.contextmanager
def cold_volume(base: Path, oss: OssServer | Server, *, config: str = "", mounted: bool = True) -> Iterator[ColdVolume]:
    volume = ColdVolume(base)
    try:
        volume.attach(oss, config=config)
        if mounted:
            volume.mount()
        yield volume
    except BaseException:
        with contextlib.suppress(OSError):
            print("".join(f"  log: {line}\n" for line in volume.log.splitlines()[-SHOWN_MAX:]), end="")
        raise
    finally:
        volume.clean_up()


@contextlib.contextmanager
def folder(*, need_bytes: int) -> Iterator[Path]:
    """A new one, on a disk that has room."""
    with tempfile.TemporaryDirectory(prefix="cold-") as name:
        free_bytes = shutil.disk_usage(name).free
        assert free_bytes > need_bytes, f"{name} needs {need_bytes // MIB} MiB, and has {free_bytes // MIB}"
        yield Path(name)


def wait_until(is_so: Callable[[], bool], *, within_s: float, otherwise: str) -> float:
    """Seconds that it took."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < within_s, otherwise
        time.sleep(0.1)
    return time.monotonic() - began_s
