"""A volume mounted with nfs=strict, and Ganesha with what `rustfsfs nfs` prints: inside a network of their own.

`enter` starts the suite again in new namespaces of network, mounts and processes: there is nothing but loopback, so
nobody else can be reached and no port be taken, and all that was started ends with the suite, whatever happens.
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.long.nfs.libnfs import UID, Client
from tests.mounted import Mounted

INSIDE = "RUSTFSFS_NFS_INSIDE"
PROGRAMS = ("unshare", "rpcbind", "ganesha.nfsd")
NFS_PORT, MOUNT_PORT = 22049, 22050
START_S_MAX, STOP_S_MAX = 60.0, 30.0
STRICT = "nfs=strict"
# First process of the new namespace: it takes leave of orphans, and ends as its only child does
FIRST = '"$@" & wait $!'
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41  # netdevice(7)


def enter() -> None:
    """Returns inside; outside it never does: it is replaced by who waits for the inside."""
    if INSIDE in os.environ:
        subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)  # rpcbind's socket and lock
        Path("/run/ganesha").mkdir()
        Path("/run/rpcbind").mkdir()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
        return
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"missing: {' '.join(missing)}; as root `make nfs-packages` installs what is needed")
        sys.exit(2)
    apart = [
        "unshare",
        "--net",
        "--mount",
        "--propagation",
        "slave",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        FIRST,
        "sh",
    ]
    os.execvpe(apart[0], [*apart, sys.executable, "-m", "tests.long.nfs"], os.environ | {INSIDE: "1"})


class Place:
    """The volume, its mount, and the server of it."""

    def __init__(self, mounted: Mounted) -> None:
        self.mounted = mounted
        self.scratch = mounted.base / "scratch"  # what is mounted in it goes at the end
        self.scratch.mkdir()
        self.log = mounted.base / "ganesha.log"
        self._config = mounted.base / "ganesha.conf"
        self._export = mounted.base / "export.conf"
        self._server: subprocess.Popen[bytes] | None = None

    def client(self) -> Client:
        return Client(str(self.mounted.point), nfs_port=NFS_PORT, mount_port=MOUNT_PORT)

    def mount(self) -> None:
        self.mounted.mount("-o", STRICT)

    def configure(self) -> None:
        """What the administrator does once."""
        self._export.write_text(self.mounted.run("nfs", self.mounted.point, "--server", "ganesha").stdout)
        self._config.write_text(f"""\
NFS_CORE_PARAM {{ Protocols = 3; NFS_Port = {NFS_PORT}; MNT_Port = {MOUNT_PORT}; Enable_NLM = false;
    Enable_RQUOTA = false; mount_path_pseudo = false; }}
NFSv4 {{ Graceless = true; RecoveryRoot = "{self.mounted.base}/recovery4"; }}
LOG {{ Default_Log_Level = EVENT; }}
%include "{self._export}"
""")

    def serve(self) -> None:
        """Start the server; returns when it answers."""
        with open(self.mounted.base / "ganesha.out", "ab") as said:
            command = [
                "ganesha.nfsd",
                "-F",
                "-f",
                self._config,
                "-L",
                self.log,
                "-p",
                self.mounted.base / "ganesha.pid",
            ]
            self._server = subprocess.Popen(list(map(str, command)), stdout=said, stderr=said, start_new_session=True)
        deadline_s = time.monotonic() + START_S_MAX
        while True:
            assert self._server.poll() is None, f"Ganesha ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline_s, f"Ganesha does not answer: {self.log.read_text()[-2000:]}"
            try:
                socket.create_connection(("127.0.0.1", NFS_PORT), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def stop_serving(self) -> None:
        """As systemd would: SIGTERM, and SIGKILL to one that hangs on a dead mount."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            print("  Ganesha did not end by itself", flush=True)
            self._server.kill()
            self._server.wait()
        self._server = None


@contextmanager
def new_place(folder: Path) -> Iterator[Place]:
    """Without trouble inside, the volume is unmounted and checked at the end, every byte."""
    portmapper = subprocess.Popen(["rpcbind", "-w", "-f"])
    mounted = Mounted(folder)
    mounted.format()
    place = Place(mounted)
    place.mount()
    try:
        os.chown(mounted.point, UID, UID)
        place.configure()
        place.serve()
        yield place
        place.stop_serving()
        mounted.umount()
        findings = mounted.fsck("--data")
        assert findings == [], findings[:5]
    finally:
        place.stop_serving()
        mounted.clean_up()
        for path in place.scratch.iterdir():
            subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
        portmapper.kill()
        portmapper.wait()
