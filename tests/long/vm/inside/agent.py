"""Does in the guest what the suite says over a serial port: a line of JSON for each command, and one for its answer."""

import json
import subprocess
from typing import BinaryIO

PORT = "/dev/virtio-ports/agent"


def answer(request: dict[str, object]) -> dict[str, object]:
    """`run`: for a shell. `seconds`: how long it may take; it is killed then, and its code is None."""
    command, seconds = str(request["run"]), float(str(request["seconds"]))
    try:
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        return {"code": None, "said": (exc.stdout or b"").decode(errors="replace")}
    return {"code": done.returncode, "said": done.stdout.decode(errors="replace")}


def say(port: BinaryIO, what: dict[str, object]) -> None:
    port.write(json.dumps(what).encode() + b"\n")


def main() -> None:
    with open(PORT, "r+b", buffering=0) as port:
        say(port, {"code": 0, "said": "ready"})
        while line := port.readline():
            say(port, answer(json.loads(line)))


if __name__ == "__main__":
    main()
