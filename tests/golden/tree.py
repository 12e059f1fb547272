"""What a tree holds, as values that JSON keeps: for comparing it with what another version found."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any


def described(root: Path) -> dict[str, dict[str, Any]]:
    """By path, as text that keeps every byte (surrogateescape, escaped)."""
    found = {}
    for path in sorted(root.rglob("*")):
        found[str(path.relative_to(root)).encode("utf-8", "surrogateescape").decode("latin-1")] = _described(path)
    return found


def _described(path: Path) -> dict[str, Any]:
    row = path.lstat()
    one: dict[str, Any] = {"mode": oct(row.st_mode), "uid": row.st_uid, "gid": row.st_gid, "mtime_ns": row.st_mtime_ns}
    if stat.S_ISREG(row.st_mode):
        one |= {"size": row.st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "nlink": row.st_nlink}
    elif stat.S_ISLNK(row.st_mode):
        one["target"] = os.readlink(path)
    else:
        one["rdev"] = row.st_rdev
    if not stat.S_ISLNK(row.st_mode):
        names = sorted(os.listxattr(path))
        one["xattrs"] = {name: os.getxattr(path, name).hex() for name in names}
    return one
