"""1. Everything demoted, no local packs, the cache empty: `diff -r` with the source finds no difference."""

import shutil
import subprocess
import time

from rustfsfs.units import GIB, MIB
from tests.long.cold.place import cold_volume, folder
from tests.long.cold.trees import mixed
from tests.oss_server import Kind, serving

SIZE = 2 * GIB


def check(scale: float) -> str:
    size_bytes = int(SIZE * scale)
    with (
        folder(need_bytes=4 * size_bytes) as base,
        serving(base / "oss") as oss,
        cold_volume(base, oss) as volume,
    ):
        files = mixed(base / "tree", size_bytes)
        subprocess.run(["cp", "-a", base / "tree", volume.point / "tree"], check=True)
        began_s = time.monotonic()
        done = volume.demote()
        demoted_s = time.monotonic() - began_s
        volume.forget()
        oss.counts.clear()
        began_s = time.monotonic()
        found = subprocess.run(
            ["diff", "-r", "--no-dereference", base / "tree", volume.point / "tree"], capture_output=True, check=False
        )
        read_s = time.monotonic() - began_s
        assert found.returncode == 0, f"diff: {found.stdout[:500]!r} {found.stderr[:500]!r}"
        assert not volume.packs() or volume.tier()["traffic"]["recalled_packs"], "what was read was on the disk"
        gets, got = oss.counts.requests(Kind.GET), oss.counts.bytes_out(Kind.GET)
        volume.umount()
        findings = volume.fsck()
        assert findings == [], findings[:5]
        shutil.rmtree(base / "tree")
    return (
        f"{files} files, {size_bytes / MIB:.0f} MiB in {done['packs']} packs demoted in {demoted_s:.0f} s;"
        f" diff -r finds nothing in {read_s:.0f} s, {gets} GETs of {got / MIB:.0f} MiB"
    )
