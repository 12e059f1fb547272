"""The server as a program."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import oss2
import pytest


@pytest.mark.slow  # it starts an interpreter: 0.5 s
def test_it_prints_what_a_client_needs_and_at_the_end_what_was_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.oss_server", "--dir", str(tmp_path), "--class", "IA"]
    environment = os.environ | {"OSS_ACCESS_KEY_ID": "LTAImine", "OSS_ACCESS_KEY_SECRET": "mine"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(4)]
        said = dict(line.split() for line in lines[:3])
        auth = oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider("LTAImine", "mine"))
        bucket = oss2.Bucket(auth, said["endpoint"], said["bucket"], region=said["region"])
        bucket.put_object("key", b"bytes")
        server.send_signal(signal.SIGTERM)
        assert "PUT      IA                        1                5" in server.stdout.read()
    assert server.returncode == 0
    assert lines[3] == "export OSS_ACCESS_KEY_ID=LTAImine OSS_ACCESS_KEY_SECRET=mine\n"
