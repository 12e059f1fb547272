"""A tree with everything an archiver may meet, and a description of a tree by which two are compared."""

import hashlib
import os
import random
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from tests.long.apps.place import ran

MODES = [0o000, 0o400, 0o444, 0o600, 0o644, 0o666, 0o755, 0o777, 0o1755, 0o2755, 0o2644, 0o4755, 0o6711]
OWNERS = [0, 1, 33, 1000, 65534, 70_000, 4_294_967_294]
SIZES = [0, 1, 511, 4096, 4097, 70_000, 1_000_003]
TIMES_S = [0, 1, -86_400, 951_782_400, 1_700_000_000, 2_147_483_647, 4_102_444_800]
NAMES = [b" ", b"-rf", b"a b", b"*?[", b"new\nline", b"tab\t", b"\xff\xfe", "grün".encode(), b"n" * 255, b"#x#", b"x~"]
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw+ep; linux/capability.h, revision 2
SPARSE_BYTES = 24 << 20
FILES = 260


def grow(root: Path, draw: random.Random) -> None:
    """Fill an empty directory, as root. What it holds depends on `draw` alone."""
    folders = [root] + [_folder(root, number, draw) for number in range(25)]
    for number in range(FILES):
        _file(draw.choice(folders) / f"f{number}", draw)
    for name in NAMES:
        _file(Path(os.fsdecode(os.path.join(os.fsencode(root / "d0"), name))), draw)
    _specials(root / "d1", draw)
    _links(root, folders, draw)
    _sparse(root / "sparse", draw)
    _acls(root, folders, draw)
    for folder in reversed(folders):
        os.chown(folder, draw.choice(OWNERS), draw.choice(OWNERS))
        os.chmod(folder, draw.choice([0o755, 0o700, 0o2775, 0o1777, 0o000]))
        _age(folder, draw)


def _folder(root: Path, number: int, draw: random.Random) -> Path:
    above = root if number < 8 else root / f"d{draw.randrange(8)}"
    path = above / f"d{number}"
    path.mkdir()
    os.setxattr(path, "user.folder", str(number).encode())
    return path


def _file(path: Path, draw: random.Random) -> None:
    size = draw.choice(SIZES)
    path.write_bytes(draw.randbytes(size) if draw.random() < 0.5 else (b"the same again, " * (size // 16 + 1))[:size])
    os.chown(path, draw.choice(OWNERS), draw.choice(OWNERS))
    os.chmod(path, draw.choice(MODES))
    if draw.random() < 0.4:
        os.setxattr(path, "user.text", draw.randbytes(draw.choice([0, 1, 100, 1500])))
        os.setxattr(path, "trusted.note", b"\0\xff")
    if draw.random() < 0.1:
        os.setxattr(path, "security.capability", CAPABILITY)
    _age(path, draw)


def _age(path: Path, draw: random.Random) -> None:
    when_ns = draw.choice(TIMES_S) * 10**9 + draw.choice([0, 1, 999_999_999])
    os.utime(path, ns=(when_ns, when_ns), follow_symlinks=False)


def _specials(folder: Path, draw: random.Random) -> None:
    os.mkfifo(folder / "fifo", 0o640)
    os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(folder / "block", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    with socket.socket(socket.AF_UNIX) as one:
        home = os.getcwd()
        os.chdir(folder)  # a socket's whole path is short
        one.bind("socket")
        os.chdir(home)
    for name in ("fifo", "null", "block", "socket"):
        os.chown(folder / name, draw.choice(OWNERS), draw.choice(OWNERS))
        _age(folder / name, draw)


def _links(root: Path, folders: list[Path], draw: random.Random) -> None:
    targets = ["f1", "/etc/passwd", "nowhere", "../" * 10, "x" * 4000, "loop"]
    for number, target in enumerate(targets):
        path = draw.choice(folders) / f"l{number}"
        os.symlink(target, path)
        os.chown(path, draw.choice(OWNERS), draw.choice(OWNERS), follow_symlinks=False)
        os.setxattr(path, "trusted.link", b"here", follow_symlinks=False)
        _age(path, draw)
        os.link(path, root / f"again{number}", follow_symlinks=False)
    os.link(root / "d1" / "fifo", root / "fifo too")
    for number in range(8):
        first = root / f"first{number}"
        _file(first, draw)
        for other in range(draw.randrange(1, 6)):
            os.link(first, draw.choice(folders) / f"h{number}-{other}")


def _sparse(path: Path, draw: random.Random) -> None:
    with open(path, "wb") as file:
        file.truncate(SPARSE_BYTES)
        for _ in range(6):
            file.seek(draw.randrange(SPARSE_BYTES - 9000))
            file.write(draw.randbytes(draw.choice([1, 4096, 9000])))


def _acls(root: Path, folders: list[Path], draw: random.Random) -> None:
    for folder in draw.sample(folders, 6):
        ran("setfacl", "-m", "d:u:1000:rwx,d:g:33:r-x,d:m::r-x,g:1000:-w-", folder)
    for path in [*draw.sample(plain_files(root), 4), root / "d1" / "fifo"]:
        was = path.lstat()
        ran("setfacl", "-m", f"u:{draw.choice(OWNERS[:6])}:rw-,g:33:--x,m::rw-", path)
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def describe(root: Path) -> dict[str, Any]:
    """All of a tree but inode numbers, atime and ctime: attributes, xattrs (ACLs too), contents, links."""
    found: dict[str, Any] = {}
    links: dict[tuple[int, int], list[str]] = {}
    for path in [root, *_below(root)]:
        name = str(path.relative_to(root))
        seen = path.lstat()
        found[name] = {
            "mode": oct(seen.st_mode),
            "owner": (seen.st_uid, seen.st_gid),
            "mtime_ns": seen.st_mtime_ns,
            "rdev": seen.st_rdev,
            "xattrs": {at: os.getxattr(path, at, follow_symlinks=False) for at in sorted(_xattrs(path))},
            "content": _content(path, seen),
        }
        if not stat.S_ISDIR(seen.st_mode):
            links.setdefault((seen.st_dev, seen.st_ino), []).append(name)
            found[name]["nlink"] = seen.st_nlink
    for names in links.values():
        for name in names:
            found[name]["links"] = sorted(names)
    return found


def plain_files(root: Path) -> list[Path]:
    return [path for path in _below(root) if stat.S_ISREG(path.lstat().st_mode)]


def _below(root: Path) -> list[Path]:
    return sorted(Path(at) / name for at, folders, files in os.walk(root) for name in [*folders, *files])


def _xattrs(path: Path) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def _content(path: Path, seen: os.stat_result) -> str:
    if stat.S_ISLNK(seen.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(seen.st_mode):
        return ""
    with open(path, "rb") as file:
        return f"{seen.st_size} {hashlib.file_digest(file, 'blake2b').hexdigest()}"


def assert_same(got: dict[str, Any], want: dict[str, Any], what: str) -> None:
    """Raises AssertionError naming the first few differences."""
    differences = [
        f"{name!r}: {fact} is {_fact(got, name, fact)!r}, not {_fact(want, name, fact)!r}"
        for name in sorted(set(got) | set(want))
        for fact in sorted({**got.get(name, {"there": 1}), **want.get(name, {"there": 1})})
        if _fact(got, name, fact) != _fact(want, name, fact)
    ]
    assert not differences, f"{what}: {len(differences)} differences: " + "; ".join(differences[:4])


def _fact(tree: dict[str, Any], name: str, fact: str) -> Any:
    return tree[name].get(fact) if name in tree else "absent"
