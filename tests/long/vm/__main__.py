"""make test-vm: Debian 12 with its own kernel and systemd under qemu, in software emulation: units, NFS, power cuts.

PARTS="units nfs" chooses, RESTARTS= changes how many, KEEP=1 leaves the disk and what the guest said. A run does each
part once. It takes half an hour, and longer once, when the packages come.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.long.results import FOLDER, Suite, run
from tests.long.vm import image, serving, units
from tests.long.vm.guest import Guest

RESTARTS = 4  # every other one a SIGKILL
PARTS = ("units", "nfs")


@contextmanager
def phase(name: str) -> Iterator[None]:
    started_s = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - started_s:.0f} s", flush=True)


def work(suite: Suite) -> None:
    names = os.environ.get("PARTS", "").split() or list(PARTS)
    assert set(names) <= set(PARTS), f"there are: {' '.join(PARTS)}"
    folder = Path(tempfile.mkdtemp(prefix="vm", dir=FOLDER)).absolute()
    try:
        with phase("image"):
            made = image.build((FOLDER / "vm").absolute(), folder / "disk.img")
        guest = Guest(folder, made)
        try:
            try_all(suite, guest, names)
        finally:
            guest.cut_power()
    except AssertionError:
        console = folder / "console"
        if console.exists():
            shutil.copyfile(console, FOLDER / "vm/console")
            print(f"What the guest said: {FOLDER}/vm/console")
        raise
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder)


def try_all(suite: Suite, guest: Guest, names: list[str]) -> None:
    print(f"up after {guest.boot():.0f} s", flush=True)
    with phase("volume"):
        units.set_up(guest)
    if "units" in names:
        with phase("units"):
            suite.count(parts=1, trials=units.cover(guest))
    if "nfs" in names:
        with phase("nfs"):
            suite.count(parts=1, **serving.cover(guest, int(os.environ.get("RESTARTS") or RESTARTS)))
    with phase("off, on, checked"):
        goes_off_in_order(guest)


def goes_off_in_order(guest: Guest) -> None:
    """Everything up: the machine does not wait for a mount that nobody unmounts, and all is well the next time."""
    took_s = guest.power_off()
    print(f"  off after {took_s:.0f} s", flush=True)
    guest.boot()
    said = guest.run(f"journalctl -b -1 -u {units.UNIT} -n 30 -o cat")
    assert "Deactivated successfully" in said, f"it did not end in order: {said}"
    guest.wait_until(f"systemctl is-active -q {units.UNIT}", "the unit at boot")
    guest.wait_until('test -z "$(systemctl list-jobs --no-legend)"', "the rest of what boots")  # the NFS server, say
    guest.run(f"systemctl stop {units.UNIT}")
    units.gone(guest)
    guest.run(f"rustfsfs fsck {units.VOLUME} --key-file {units.KEY} --data", seconds=600)
    failed = guest.run("systemctl list-units --failed --plain --no-legend")
    assert not failed, f"units failed: {failed}"


if __name__ == "__main__":
    reason = image.missing()
    if reason is not None:
        print(reason)
        sys.exit(2)
    print("This takes half an hour.", flush=True)
    run(Suite("vm", minutes=1), work, needs="parts")
