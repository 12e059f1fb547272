"""Imports point down only, and each foreign library has one door (DESIGN.md, layers; STYLE.md, one door each)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rustfsfs"
LEAVES = {"errors", "units", "ops", "bucketfacts", "histogram", "listening"}
PURE = LEAVES | {"content"}
CONFIGURATION = {"values", "config", "siteconfig"}
BELOW_VOLUME = PURE | CONFIGURATION | {"world", "tiers", "meta", "journal", "store", "cache"}
BELOW_MOUNT = BELOW_VOLUME | {"volume"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "units": set(),
    "ops": set(),
    "bucketfacts": set(),
    "histogram": set(),
    "listening": {"errors"},
    "direct": LEAVES,
    "world": LEAVES | {"direct"},
    "content": LEAVES,
    "tiers": PURE,  # of content only the extents as values
    "values": LEAVES,
    "config": LEAVES | {"tiers", "values"},
    "siteconfig": LEAVES | {"config", "values"},
    "meta": PURE,
    "journal": PURE | {"world"},
    "store": PURE | {"world"},
    "cache": LEAVES | {"world"},
    "volume": BELOW_VOLUME,
    "tasks": BELOW_MOUNT,
    "doctor": PURE | {"tiers"},
    "service": BELOW_MOUNT | {"doctor"},
    "fuse": BELOW_MOUNT,
    "mount": BELOW_MOUNT | {"tasks", "service", "fuse"},
    "cli": BELOW_MOUNT | {"mount", "service", "doctor", "bench", "man", "__init__"},
    "bench": BELOW_MOUNT | {"fuse", "service", "mount", "__init__"},  # it starts mounts as programs, and measures them
    "man": set(),
    "demo": LEAVES | {"service"},
    "__main__": {"cli"},
}
DOORS: dict[str, tuple[str, ...]] = {  # library -> where it may be imported
    "pyfuse3": ("fuse/", "bench/nullfs.py"),  # the null file system is the binding and nothing else
    "apsw": ("meta/", "volume/epochs.py"),  # epochs tells SQLite's errors of a COMMIT from bugs
    "sqlite_utils": ("meta/",),
    "sqlite3": ("bench/workloads/sqlite.py",),  # as a program whose files lie on the mount
    "zstandard": ("content/",),
    "cryptography": ("content/", "bench/material.py"),  # as a fast source of noise
    "blake3": ("content/",),
    "pyfastcdc": ("content/",),
    "oss2": ("store/oss.py",),
    "requests": ("store/oss.py",),  # what oss2 speaks HTTP with; its errors and its session
    "urllib3": ("store/oss.py",),
    "crcmod": ("store/crc64.py",),
    "time": ("world.py", "bench/", "service/notify.py"),  # bench: timing is what it does; notify: systemd's own clock
    "random": ("bench/",),  # seeded: the same material and the same order each time
    "click": ("cli/",),
    "prometheus_client": ("service/exposition.py",),
    "rich": ("cli/", "bench/screen.py"),
    "trio": (
        "volume/",
        "tasks/",
        "service/control.py",
        "service/supervision.py",
        "service/reloading.py",
        "service/http.py",
        "service/watching.py",
        "fuse/",
        "mount.py",
        "store/",
        "cache/",
        "journal/barriers.py",
        "bench/nullfs.py",
    ),
}
CALLS = {
    "os.urandom": ("world.py", "cli/", "demo.py"),
    "os.fsync": ("world.py", "bench/"),  # there it is what is measured
    "os.fdatasync": ("world.py", "bench/"),
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def violations(path: Path, source: str) -> list[str]:
    """What one file imports that it may not."""
    found = []
    here, part = str(path.relative_to(PACKAGE)), part_of(path)
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            call = f"{node.value.id}.{node.attr}"
            if call in CALLS and not here.startswith(CALLS[call]):
                found.append(f"{here}:{node.lineno} uses {call}")
        for name in names:
            top, *rest = name.split(".")
            if top == "rustfsfs":
                target = rest[0] if rest and rest[0] in MAY_IMPORT else "__init__"
                if target != part and target not in MAY_IMPORT[part]:
                    found.append(f"{here} imports {target}, which is not below {part}")
            elif top in DOORS and not here.startswith(DOORS[top] or ("nowhere",)):
                found.append(f"{here} imports {top}")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("where", "source"),
    [
        pytest.param("meta/entries.py", "import time", id="a clock in the metadata"),
        pytest.param("content/codec.py", "from rustfsfs.volume import names", id="an upward import"),
        pytest.param("journal/journal.py", "import os\nos.fsync(3)", id="a sync past the seam"),
        pytest.param("store/disks.py", "from rustfsfs.meta import chunks", id="a sideways import"),
        pytest.param("volume/moving.py", "def late():\n    import oss2", id="the SDK past its door"),
    ],
)
def test_a_planted_violation_is_caught(where: str, source: str) -> None:
    assert violations(PACKAGE / where, source) != []
