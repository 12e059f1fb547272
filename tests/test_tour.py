"""The README's ten minutes, typed as they stand there."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oss_server.server import serving

ROOT = Path(__file__).parent.parent
PORT, METRICS_PORT = 9000, 9464  # as the README has them
SERVER = f"make oss-server DIR=/srv/tour/oss PORT={PORT} &"
KEY = ("tour", "for-the-tour-only")
ENDS = "kill %1"  # the server


def tour() -> str:
    """All that is typed, one script."""
    part = (ROOT / "README.md").read_text().partition("## Ten minutes")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"(?ms)^```sh\n(.*?)^```$", part))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def adapted(script: str, base: Path, endpoint: str) -> str:
    """The same with other places and ports; the server is there already."""
    source = base / "doc"
    shutil.copytree(ROOT / "rustfsfs" / "man", source, ignore=shutil.ignore_patterns("__pycache__"))
    changes = {
        SERVER: "",
        ENDS: "",
        f"http://127.0.0.1:{PORT}": endpoint,
        f"127.0.0.1:{METRICS_PORT}": f"127.0.0.1:{free_port()}",
        "/srv/tour": str(base / "tour"),
        "/etc/rustfsfs": str(base / "etc"),
        "/usr/share/doc": str(source),
        "$PWD/.venv/bin": str(Path(sys.executable).parent),
    }
    for there, here in changes.items():
        assert there in script, there
        script = script.replace(there, here)
    return script


@pytest.mark.fuse
@pytest.mark.slow  # it starts twenty programs, and mounts three times
def test_the_tour_can_be_typed(tmp_path: Path) -> None:
    script = tour()
    assert f"OSS_ACCESS_KEY_ID={KEY[0]} OSS_ACCESS_KEY_SECRET={KEY[1]}" in script
    with serving(tmp_path / "oss", key=KEY) as oss:
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", adapted(script, tmp_path, oss.endpoint)],
                cwd=ROOT,
                env=os.environ | {"RUSTFSFS_CONFIG_DIR": str(tmp_path / "etc")},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        finally:
            if os.path.ismount(tmp_path / "tour/mnt"):
                subprocess.run(["fusermount3", "-uz", tmp_path / "tour/mnt"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("by deduplication", '"healthy": true', "rustfsfs_dedup_ratio", "tour.toml: well"):
        assert said in done.stdout, said
    assert list((tmp_path / "oss").rglob("*")), "something came to the bucket"
    assert not (tmp_path / "tour").exists() and not (tmp_path / "etc/tour.toml").exists()
