"""python -m tests.golden.make NAME: a volume of this version, as a kill left it, in tests/golden/NAME.tar.xz.

To be run once for each format that is released, as root. Beside it lies what the volume holds, NAME.json.
"""

import json
import os
import random
import socket
import stat
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.golden.tree import described
from tests.mounted import Mounted

FOLDER = Path(__file__).parent
LEFT_OUT = {"ballast", "lock", "control.sock", "rustfsfs.log"}
PASSPHRASE = b"golden\n"


def fill(point: Path, seal: "Mounted") -> None:
    """Something of every kind, sealed and hot."""
    draw = random.Random(1)
    (point / "folder").mkdir(mode=0o750)
    (point / "folder" / "sealed noise").write_bytes(draw.randbytes(200_000))
    (point / "folder" / "sealed text").write_bytes(b"a line of text that compresses\n" * 4_000)
    (point / "again").write_bytes((point / "folder" / "sealed noise").read_bytes())
    (point / "small").write_bytes(b"small")
    seal.seal()
    with open(point / "folder" / "sealed noise", "r+b") as file:
        file.seek(90_000)
        file.write(b"patched while sealed")
    with open(point / "holes", "wb") as file:
        file.seek(5 << 20)
        file.write(b"behind a hole")
    (point / "hot noise").write_bytes(draw.randbytes(40_000))
    (point / "empty").write_bytes(b"")
    os.link(point / "small", point / "folder" / "hard link")
    os.symlink("folder/sealed text", point / "symlink")
    os.mkfifo(point / "fifo", 0o640)
    os.mknod(point / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{point}/socket")
    os.setxattr(point / "small", "user.attribute", b"value \x00 with a zero")
    acl = [(1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    value = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in acl
    )
    os.setxattr(point / "empty", "system.posix_acl_access", value)
    os.chown(point / "hot noise", 1000, 1001)
    os.utime(point / "again", ns=(10**18 + 1, 10**18 + 2))
    (point / os.fsdecode(b"name \xff not UTF-8")).write_bytes(b"x")
    (point / ("n" * 255)).write_bytes(b"a long name")
    (point / "gone").write_bytes(draw.randbytes(20_000))
    (point / "gone").unlink()


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mounted = Mounted(Path(folder))
        mounted.format("--chunk-size", "64KiB")
        mounted.mount("-o", "dev,suid")
        secret = mounted.base / "passphrase"
        secret.write_bytes(PASSPHRASE)
        mounted.run("key", "add", mounted.volume, "--key-file", mounted.key, "--new-passphrase-file", secret)
        fill(mounted.point, mounted)
        found = described(mounted.point)
        mounted.kill()
        (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        with tarfile.open(FOLDER / f"{name}.tar.xz", "x:xz", preset=9) as archive:
            for path in sorted(mounted.volume.rglob("*")):
                if path.name not in LEFT_OUT:
                    archive.add(path, path.relative_to(mounted.volume), recursive=False)
        mounted.clean_up()


if __name__ == "__main__":
    main(sys.argv[1])
