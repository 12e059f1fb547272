"""7. Who reads the bucket finds no name, no content and no plain hash of any: searched as `grep -a` does."""

import base64
import hashlib
import mmap
import os
import subprocess
from pathlib import Path

from blake3 import blake3

from rustfsfs.units import MIB
from tests.long.cold.place import cold_volume, folder
from tests.oss_server import serving

FILES = 200
SECRET = "Kaltgeheim"
HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")


def content(number: int) -> bytes:
    """Text that repeats, text that does not, noise with a word in it; every one has the secret."""
    line = f"{SECRET} content {number} ".encode()
    match number % 4:
        case 0:
            return line * 2000
        case 1:
            return line + os.urandom(100_000) + line
        case 2:
            return line
        case _:
            return b"".join(line + os.urandom(40).hex().encode() for _ in range(5000))


def hashes_of(data: bytes) -> list[bytes]:
    """Plain ones, as bytes and as they are written."""
    found = [blake3(data).digest(), *(hashlib.new(name, data, usedforsecurity=False).digest() for name in HASHES)]
    written = [form for one in found for form in (one.hex().encode(), one.hex().upper().encode())]
    return found + written + [base64.b64encode(one) for one in found]


def fill(root: Path) -> list[bytes]:
    """What may not be found."""
    sought = [SECRET.encode(), SECRET[::-1].encode(), SECRET.encode("utf-16-le")]
    for number in range(FILES):
        parent = root / f"{SECRET}Folder{number % 7}"
        parent.mkdir(exist_ok=True)
        path, data = parent / f"{SECRET}Name{number}", content(number)
        path.write_bytes(data)
        os.setxattr(path, f"user.{SECRET}Xattr", f"{SECRET}Value{number}".encode())
        (parent / f"{SECRET}Link{number}").symlink_to(f"{SECRET}Target{number}")
        sought += hashes_of(data)
        sought += hashes_of(path.name.encode())
    return sought


def check(scale: float) -> str:
    with folder(need_bytes=500 * MIB) as base, serving(base / "oss") as oss, cold_volume(base, oss) as volume:
        sought = fill(volume.point)
        key = (base / "key").read_bytes()
        sought += [key, key.hex().encode(), (base / "recovery").read_bytes().strip()]
        volume.demote()
        volume.umount()  # the metadata goes there too
        seen = {one.key for one in oss.counts.seen(operation="PutObject")}
        assert any("/packs/" in one for one in seen) and any("/meta/" in one for one in seen), seen
        files = [path for path in (base / "oss").rglob("*") if path.is_file()]
        size = 0
        for path in files:
            if not path.stat().st_size:
                continue
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                size += len(data)
                found = [one for one in sought if data.find(one) >= 0]
                assert not found, f"{path} of the bucket has {found[:3]}"
        names = "\n".join(sorted(seen))
        assert SECRET not in names
        grep = subprocess.run(["grep", "-arilF", SECRET, base / "oss"], capture_output=True, text=True, check=False)
        assert grep.returncode == 1 and not grep.stdout, f"grep -a finds it in {grep.stdout}"
        planted = base / "oss" / "planted"
        planted.write_bytes(os.urandom(1000) + SECRET.encode())
        grep = subprocess.run(["grep", "-arilF", SECRET, base / "oss"], capture_output=True, text=True, check=False)
        assert grep.stdout.strip() == str(planted), "grep found not even what was planted"
        planted.unlink()
    return f"{len(sought)} names, contents, hashes and keys: none is in {len(files)} files, {size / MIB:.0f} MiB"
