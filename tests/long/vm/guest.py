"""The machine: qemu in software emulation, a disk that outlives it, and an agent inside that does what it is told."""

import json
import socket
import subprocess
import time
from pathlib import Path

from tests.long.vm.image import Image

BOOT_S_MAX, OFF_S_MAX = 600.0, 300.0
MEMORY_MIB = 1536
PORTS = ("v3", "v4")  # files beside the disk: what workers in the guest write to /dev/virtio-ports/NAME arrives there
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off systemd.show_status=1"


class Guest:
    """One machine. `folder`: its disk, its socket, and what it said on its console and ports."""

    def __init__(self, folder: Path, image: Image) -> None:
        self.folder, self._image = folder, image
        self.disk = folder / "disk.img"
        self.booted = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: socket.socket | None = None
        self._heard = b""

    def boot(self) -> float:
        """Start it; returns, when its agent answers, how many seconds that took."""
        started_s = time.monotonic()
        self.booted += 1
        address = self.folder / "agent"
        address.unlink(missing_ok=True)
        with open(self.folder / "qemu.out", "ab") as said:
            self._process = subprocess.Popen(self._command(address), stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        while not address.exists():
            assert self._process.poll() is None, f"qemu ended: {(self.folder / 'qemu.out').read_text()[-2000:]}"
            time.sleep(0.1)
        self._agent, self._heard = socket.socket(socket.AF_UNIX), b""
        self._agent.connect(str(address))
        self._answer(BOOT_S_MAX)
        return time.monotonic() - started_s

    def _command(self, agent: Path) -> list[str]:
        ports = ["-chardev", f"socket,id=agent,path={agent},server=on,wait=off"]
        ports += ["-device", "virtserialport,chardev=agent,name=agent"]
        for name in PORTS:
            ports += ["-chardev", f"file,id={name},path={self.folder / name},append=on"]
            ports += ["-device", f"virtserialport,chardev={name},name={name}"]
        return [
            *("setpriv", "--pdeathsig", "KILL"),  # it does not outlive the suite, however that ends
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB)),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", KERNEL_LINE),
            *("-drive", f"file={self.disk},format=raw,if=virtio,cache=writeback"),
            *("-device", "virtio-rng-pci", "-nic", "none", "-device", "virtio-serial-pci"),
            *("-chardev", f"file,id=console,path={self.folder / 'console'},append=on", "-serial", "chardev:console"),
            *ports,
        ]

    # --- inside ----------------------------------------------------------------------------------------------------

    def ask(self, command: str, *, seconds: float = 180.0) -> tuple[int | None, str]:
        """Its exit code (None: it was killed after that time), and what it said on both of its outputs."""
        assert self._agent is not None
        self._agent.sendall(json.dumps({"run": command, "seconds": seconds}).encode() + b"\n")
        found = self._answer(seconds + 60)
        return found["code"], str(found["said"])

    def run(self, command: str, *, seconds: float = 180.0) -> str:
        """What it said; it must succeed."""
        code, said = self.ask(command, seconds=seconds)
        assert code == 0, f"exit code {code} of {command!r}: {said[-3000:]}"
        return said.strip()

    def wait_until(self, command: str, what: str, *, seconds: float = 180.0) -> None:
        """Until a shell's `command` succeeds."""
        code, said = self.ask(f"until {command}; do sleep 0.5; done", seconds=seconds)
        assert code == 0, f"not within {seconds:.0f} s: {what}. {said[-2000:]}"

    def put(self, path: str, text: str, *, mode: str = "644") -> None:
        self.run(f"install -D -m {mode} /dev/stdin {path} <<'END OF TEXT'\n{text.rstrip()}\nEND OF TEXT")

    def _answer(self, seconds: float) -> dict[str, int | None]:
        assert self._agent is not None
        deadline_s = time.monotonic() + seconds
        while b"\n" not in self._heard:
            self._agent.settimeout(max(0.1, deadline_s - time.monotonic()))
            try:
                data = self._agent.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(
                    f"the guest did not answer for {seconds:.0f} s; see {self.folder}/console"
                ) from None
            assert data, f"the guest is gone; see {self.folder}/console"
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        found: dict[str, int | None] = json.loads(line)
        return found

    # --- its end -----------------------------------------------------------------------------------------------------

    def cut_power(self) -> None:
        """What its kernel had not written to the disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._agent is not None:
            self._agent.close()
        self._process = self._agent = None

    def power_off(self) -> float:
        """In good order; returns how many seconds that took."""
        started_s = time.monotonic()
        assert self._process is not None
        self.run("systemctl poweroff --no-block")
        try:
            self._process.wait(OFF_S_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not go off; see {self.folder}/console") from None
        finally:
            self.cut_power()
        return time.monotonic() - started_s
