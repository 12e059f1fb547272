"""python -m tests.golden.make NAME [--bucket]: a volume of this version, as a kill left it, in NAME.tar.xz here.

To be run once for each format that is released, as root. Beside it lies what the volume holds, NAME.json. With --bucket
it has had one, the test server's, which nobody finds any more: all is on the disk as well.
"""

import json
import os
import random
import socket
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rustfsfs.store.credentials import KEY_ID, KEY_SECRET
from tests.golden.tree import described
from tests.mounted import Mounted
from tests.oss_server import serving

FOLDER = Path(__file__).parent
LEFT_OUT = {"ballast", "lock", "control.sock", "rustfsfs.log", "cold"}
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


@contextmanager
def behind(mounted: Mounted) -> Iterator[None]:
    """A bucket, for as long as the block; the daemon inherits the credentials."""
    with serving(mounted.base / "oss") as oss:
        os.environ[KEY_ID], os.environ[KEY_SECRET] = oss.key_id, oss.secret
        place = ("oss://packs/golden", "--endpoint", oss.endpoint, "--region", oss.region)
        mounted.run("bucket", "attach", mounted.volume, *place, "--key-file", mounted.key)
        yield


def pass_through_bucket(mounted: Mounted) -> None:
    """Rows in each of the bucket's tables."""
    mounted.run("tier", "demote", mounted.point)
    mounted.run("tier", "recall", mounted.point, "--wait")
    mounted.run("tier", "pin", mounted.point / "folder")


def main(name: str, *flags: str) -> None:
    has_bucket = "--bucket" in flags
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        mounted = Mounted(Path(folder))
        mounted.format("--chunk-size", "64KiB")
        if has_bucket:
            held.enter_context(behind(mounted))
        mounted.mount("-o", "dev,suid")
        secret = mounted.base / "passphrase"
        secret.write_bytes(PASSPHRASE)
        mounted.run("key", "add", mounted.volume, "--key-file", mounted.key, "--new-passphrase-file", secret)
        fill(mounted.point, mounted)
        if has_bucket:
            pass_through_bucket(mounted)
            (mounted.point / "hot later").write_bytes(b"written behind all that")
        found = described(mounted.point)
        mounted.kill()
        (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        with tarfile.open(FOLDER / f"{name}.tar.xz", "x:xz", preset=9) as archive:
            for path in sorted(mounted.volume.rglob("*")):
                if path.name not in LEFT_OUT:
                    archive.add(path, path.relative_to(mounted.volume), recursive=False)
        mounted.clean_up()


if __name__ == "__main__":
    main(*sys.argv[1:])
