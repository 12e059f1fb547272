"""dbench: the load of an office's file server, as dbench's own recording has it, by several clients."""

import re
from pathlib import Path

from tests.long.apps.place import Place, ran

PROGRAMS = ("dbench",)
LOAD = Path("/usr/share/dbench/client.txt")  # of the Debian package
CLIENTS = 4
DURATION_S = 15
WAYS = ((), ("-x", "--fsync"), ("--sync-dir",))


def cover(place: Place) -> dict[str, int]:
    assert LOAD.exists(), f"{LOAD} is missing"
    operations = 0
    for number, way in enumerate(WAYS):
        folder = place.folder(f"dbench{number}")
        output = ran("dbench", "-c", LOAD, "-D", folder, "-t", str(DURATION_S), *way, str(CLIENTS))
        assert "Throughput" in output and "failed" not in output.lower(), output[-1000:]
        operations += sum(map(int, re.findall(r"^ *[A-Z]\w+ +(\d+) +[\d.]+ +[\d.]+$", output, re.MULTILINE)))
    return {"operations": operations}
