"""What systemd and NFS servers have to do with a mount: read, or asked, for `doctor`."""

import glob
import os
import re
import subprocess
from collections.abc import Iterator

from rustfsfs.doctor.volume import Unit

SYSTEMD = "/run/systemd/system"  # sd_booted(3)
KERNEL_EXPORTS = ("/etc/exports", "/etc/exports.d/*.exports")  # exports(5)
GANESHA_EXPORTS = ("/etc/ganesha/*.conf",)
_OCTAL = re.compile(r"\\([0-7]{3})")
_PATH = re.compile(r'^\s*Path\s*=\s*"?([^";]+)"?\s*;', re.MULTILINE)
PROPERTIES = ("LoadState", "ActiveState", "UnitFileState")


def unit_of(name: str, patience_s: float) -> Unit | None:
    """None: there is no systemd, or it does not answer."""
    if not os.path.isdir(SYSTEMD):
        return None
    unit = f"rustfsfs@{name}.service"
    command = ["systemctl", "show", unit, f"--property={','.join(PROPERTIES)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    load, active, enabled = (found.get(key, "") for key in PROPERTIES)
    return Unit(name=unit, load_state=load, active_state=active, enabled=enabled)


def exporters(point: str, *, root: str = "") -> tuple[str, ...]:
    """The files of NFS servers that name a mount point."""
    return tuple(dict.fromkeys(file for file, path in _exports(root) if path.rstrip("/") == point))


def _exports(root: str) -> Iterator[tuple[str, str]]:
    for file, text in _texts(root, KERNEL_EXPORTS):
        for line in text.splitlines():
            words = line.split()
            if words and not words[0].startswith("#"):
                yield file, _OCTAL.sub(lambda found: chr(int(found[1], 8)), words[0].strip('"'))
    for file, text in _texts(root, GANESHA_EXPORTS):
        yield from ((file, path) for path in _PATH.findall(text))


def _texts(root: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        for file in sorted(glob.glob(root + pattern)):
            try:
                with open(file, encoding="utf-8", errors="replace") as opened:
                    yield file, opened.read()
            except OSError:
                continue
