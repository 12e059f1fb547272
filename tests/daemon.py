"""`rustfsfs mount` on a disk that fails as it is told: the daemon as it is, composed with another world.

python -m tests.daemon VOLUME MOUNTPOINT KEYFILE CONTROL

CONTROL is a directory. Its file `plan` holds faults as JSON; whenever it is new, they take the place of those before,
and `taken` appears. Every call that failed is a line of `failed`.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import apsw

from rustfsfs.cli.mount import start_daemon
from rustfsfs.content.slots import SlotKind
from rustfsfs.mount import MountOptions, Ready, serve
from rustfsfs.service import client
from rustfsfs.world import real_world
from tests.faults import Fault, Faults, FaultyFiles, FaultyVfs
from tests.mounted import TIMEOUT_S, Mounted

LOOK_EVERY_S = 0.01
VFS = "faulty"


@dataclass(frozen=True)
class KeyFile:
    value: bytes
    kind: SlotKind = SlotKind.KEY_FILE


def main(volume: str, point: str, key: str, control: str) -> int:
    options = MountOptions(
        volume=volume,
        mount_point=point,
        foreground=False,
        read_only=False,
        config_path=None,
        options=frozenset(),
        degraded=False,
        skip_seq=None,
    )

    def work(ready: Ready) -> None:
        faults = Faults()
        vfs = FaultyVfs(VFS, "unix", faults)
        apsw.Connection(
            f"{control}/database", vfs=vfs.sealed
        ).close()  # the cipher makes its layer when it is first used
        apsw.set_default_vfs(vfs.sealed)  # of what a snapshot is copied to
        world = replace(real_world(), files=FaultyFiles(real_world().files, faults), sqlite_vfs=vfs.sealed)
        threading.Thread(target=obey, args=(faults, Path(control)), daemon=True).start()
        serve(world, options, KeyFile(Path(key).read_bytes()), ready)

    return start_daemon(work, volume)


def obey(faults: Faults, control: Path) -> None:
    """Take every new plan, and tell what failed, as long as the process lives."""
    plan, told = control / "plan", 0
    while True:
        if plan.exists():
            faults.plan(*(Fault(**fault) for fault in json.loads(plan.read_text())))
            plan.rename(control / "taken")
        if told < len(faults.failed):
            with open(control / "failed", "a") as file:
                file.writelines(f"{line}\n" for line in faults.failed[told:])
            told = len(faults.failed)
        time.sleep(LOOK_EVERY_S)


class FaultyMount(Mounted):
    """A volume whose daemon is this one."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.control = base / "control"
        self.control.mkdir(exist_ok=True)

    def mount(self, *more: str | Path) -> None:
        assert not more, "it takes no options"
        for path in self.control.iterdir():
            path.unlink()
        self.run(self.volume, self.point, self.key, self.control, module="tests.daemon")

    def plan(self, *faults: Fault) -> None:
        """From now on these calls fail, and no others."""
        taken, new = self.control / "taken", self.control / "new"
        taken.unlink(missing_ok=True)
        new.write_text(json.dumps([asdict(fault) for fault in faults]))
        new.rename(self.control / "plan")
        wait_for(taken.exists, "the daemon took no notice of the plan")

    def failed(self, count: int = 1) -> list[str]:
        """The calls that failed since it was mounted, once there are so many."""
        wait_for(lambda: len(self._failed()) >= count, f"fewer than {count} calls failed")
        return self._failed()

    def _failed(self) -> list[str]:
        path = self.control / "failed"
        return path.read_text().splitlines() if path.exists() else []

    def call(self, name: str, **args: object) -> Any:
        """A call of the control socket: a process of the command line takes a second to start. Raises CallFailed."""
        return client.call(str(self.volume), name, args)

    @property
    def log(self) -> str:
        return (self.volume / "rustfsfs.log").read_text()


def wait_for(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
