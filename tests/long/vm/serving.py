"""The kernel's NFS server exports the mount as `rustfsfs nfs` says, and clients of NFSv3 and NFSv4.2 work on it.

Over restarts of the unit they go on by themselves, and hear nothing of it. Over kills they may hear errors until both
are up again, and go on with the files that they have open. After a power cut what the server had acknowledged is there,
and the handles that clients had from it open the same files.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from tests.long.vm import units
from tests.long.vm.guest import PORTS, Guest
from tests.long.vm.image import INSIDE

WORKER = f"python3 /{INSIDE}/worker.py"
VERSIONS = {"v3": "vers=3,nolock", "v4": "vers=4.2"}
STEPS_MIN, GO_ON_S_MAX = 40, 300.0
SERVERS_UP = f"systemctl is-active -q {units.UNIT} nfs-server"


class Acknowledged:
    """What a worker said on its port: which of its steps are durable, and its handles. It starts anew with `folder`."""

    def __init__(self, guest: Guest, version: str) -> None:
        self._path: Path = guest.folder / version
        self.version = version
        self._skip = 0
        self.folder = ""

    def start(self, guest: Guest, folder: str) -> None:
        self._skip, self.folder = len(self._path.read_bytes()), folder
        guest.run(f"install -d -o 1000 -g 1000 {units.POINT}/{folder}")
        where = f"/mnt/{self.version}/{folder} /dev/virtio-ports/{self.version}"
        guest.run(f"systemd-run --quiet --collect --unit=worker-{self.version} {WORKER} work {where}")

    def _lines(self) -> list[str]:
        return self._path.read_bytes()[self._skip :].decode().split("\n")[:-1]  # the last may be half a line

    @property
    def troubles(self) -> list[str]:
        """The errors that it got."""
        return [line for line in self._lines() if line.startswith("trouble")]

    @property
    def steps(self) -> int:
        return max((int(line.split()[1]) for line in self._lines() if line.startswith("done")), default=0)

    @property
    def handles(self) -> list[str]:
        return [line.split()[1] for line in self._lines() if line.startswith("handle")]

    def goes_on(self) -> None:
        """Returns when it has done STEPS_MIN more."""
        deadline_s, wanted = time.monotonic() + GO_ON_S_MAX, self.steps + STEPS_MIN
        while self.steps < wanted:
            assert time.monotonic() < deadline_s, f"{self.version} does not go on: {self._lines()[-1:]}"
            time.sleep(0.2)

    def goes_on_well(self) -> None:
        """... without an error."""
        before = len(self.troubles)
        self.goes_on()
        assert len(self.troubles) == before, f"{self.version} heard, with both up: {self.troubles[before]}"

    def stop(self, guest: Guest) -> None:
        guest.run(f"systemctl stop worker-{self.version}")

    def check(self, guest: Guest) -> None:
        """By NFS, and on the mount itself."""
        for place in (f"/mnt/{self.version}", units.POINT):
            guest.run(f"{WORKER} check {place}/{self.folder} {self.steps}")


def drop_in(printed: str) -> str:
    """The unit's lines among the comments: those that are indented."""
    lines = [line[9:] for line in printed.splitlines() if line.startswith("#        ")]
    assert lines and lines[0] == "[Unit]", printed
    return "\n".join(lines)


def export(guest: Guest) -> None:
    """What README and the printed comments tell to do."""
    guest.run("install -d /etc/exports.d")
    guest.run("rustfsfs nfs home --server kernel --clients 127.0.0.1 >/etc/exports.d/home.exports")
    printed = guest.run("cat /etc/exports.d/home.exports")
    guest.put("/etc/systemd/system/nfs-server.service.d/rustfsfs-home.conf", drop_in(printed))
    guest.run("systemctl daemon-reload && systemctl enable --quiet nfs-server && systemctl restart nfs-server")
    assert units.POINT in guest.run("exportfs -s"), "it is not exported"


def mount(guest: Guest) -> None:
    for version, options in VERSIONS.items():
        guest.run(f"install -d /mnt/{version} && mount -t nfs -o hard,{options} 127.0.0.1:{units.POINT} /mnt/{version}")


def unmount(guest: Guest) -> None:
    guest.run("umount /mnt/v3 /mnt/v4")


def cover(guest: Guest, restarts: int) -> dict[str, int]:
    export(guest)
    mount(guest)
    workers = [Acknowledged(guest, version) for version in PORTS]
    start(guest, workers, "restarts")
    for number in range(restarts):
        restart(guest, workers, kill=number % 2 == 1)
    steps = finish(guest, workers)
    steps += cut_power(guest, workers)
    unmount(guest)
    return {"restarts": restarts, "cuts": 1, "steps": steps}


def start(guest: Guest, workers: Iterable[Acknowledged], name: str) -> None:
    for worker in workers:
        worker.start(guest, f"{name}-{worker.version}")
    for worker in workers:
        worker.goes_on_well()


def finish(guest: Guest, workers: Iterable[Acknowledged]) -> int:
    """How many steps they did, all of which are there."""
    for worker in workers:
        worker.stop(guest)
        worker.check(guest)
    return sum(worker.steps for worker in workers)


def restart(guest: Guest, workers: Iterable[Acknowledged], *, kill: bool) -> None:
    """Of the mount only: the server has to follow by itself, and the clients wait for both."""
    started_s, before = time.monotonic(), {worker: len(worker.troubles) for worker in workers}
    since = guest.run("systemctl show -P ActiveEnterTimestampMonotonic nfs-server")
    if kill:
        guest.run(f"systemctl kill --kill-whom=main --signal=SIGKILL {units.UNIT}")
    else:
        guest.run(f"systemctl restart {units.UNIT}")
    newer = f"test $(systemctl show -P ActiveEnterTimestampMonotonic nfs-server) -gt {since}"
    guest.wait_until(f"( {newer} && {SERVERS_UP} )", "the NFS server follows the mount")
    up_s = time.monotonic() - started_s
    for worker in workers:
        worker.goes_on()
    went_on_s = time.monotonic() - started_s
    heard = [trouble for worker, count in before.items() for trouble in worker.troubles[count:]]
    how = "killed" if kill else "restarted"
    print(
        f"  {how}: both up after {up_s:.0f} s, clients went on after {went_on_s:.0f} s, {len(heard)} errors", flush=True
    )
    assert kill or not heard, f"a restart in order is no reason for: {heard[0]}"
    for worker in workers:
        worker.goes_on_well()


def cut_power(guest: Guest, workers: Iterable[Acknowledged]) -> int:
    """In the middle of their work. Everything comes up by itself, and what they had heard of is there."""
    start(guest, workers, "cut")
    guest.cut_power()
    steps = sum(worker.steps for worker in workers)
    print(f"  power cut after {steps} steps", flush=True)
    took_s = guest.boot()
    guest.wait_until(f"( {SERVERS_UP} && systemctl is-active -q rustfsfs.target )", "everything starts at boot")
    print(f"  up again after {took_s:.0f} s", flush=True)
    units.is_served(guest)
    mount(guest)
    for worker in workers:
        handles = worker.handles
        assert handles, f"{worker.version} had no handles"
        guest.run(f"{WORKER} reopen /mnt/{worker.version} {' '.join(handles)}")
        worker.check(guest)
    start(guest, workers, "after")
    return steps + finish(guest, workers)
