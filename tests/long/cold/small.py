"""2b. 10 000 small files written together are read with at most 200 GETs. 3. 100 000 of 4 KiB demote with 60 PUTs."""

import os
import random
import time
from pathlib import Path

from rustfsfs.units import KIB, MIB
from tests.long.cold.place import cold_volume, folder
from tests.oss_server import Kind, Network, serving

READ_FILES, GETS_MAX = 10_000, 200
DEMOTED_FILES, PUTS_MAX = 100_000, 60
SIZE = 4 * KIB
PER_FOLDER = 1000
LATENCY_S = 0.030


def data_of(number: int, size_max: int) -> bytes:
    draw = random.Random(number)
    return draw.randbytes(draw.randrange(1, size_max))


def write(root: Path, count: int, *, size: int = 0) -> None:
    """Of that size, or of any up to 16 KiB."""
    for number in range(count):
        parent = root / f"d{number // PER_FOLDER}"
        if number % PER_FOLDER == 0:
            parent.mkdir()
        data = random.Random(number).randbytes(size) if size else data_of(number, 16 * KIB)
        with open(parent / f"f{number}", "xb", buffering=0) as file:
            file.write(data)


def names_of(root: Path) -> list[Path]:
    """As who copies a tree meets them."""
    return [Path(parent) / name for parent, _folders, files in os.walk(root) for name in files]


def read_all(paths: list[Path]) -> None:
    for path in paths:
        assert path.read_bytes() == data_of(int(path.name[1:]), 16 * KIB), f"{path} is not what was written"


def check_gets(scale: float) -> str:
    count = max(1000, int(READ_FILES * scale))
    with folder(need_bytes=count * 40 * KIB) as base, serving(base / "oss") as oss, cold_volume(base, oss) as volume:
        write(volume.point, count)
        volume.demote()
        said = []
        for order in ("listed", "shuffled"):
            volume.forget()
            paths = names_of(volume.point)
            assert len(paths) == count, len(paths)
            if order == "shuffled":
                random.Random(1).shuffle(paths)
            oss.network = Network(latency_s=LATENCY_S)
            oss.counts.clear()
            began_s = time.monotonic()
            read_all(paths)
            took_s = time.monotonic() - began_s
            oss.network = Network()
            gets, got = oss.counts.requests(Kind.GET), oss.counts.bytes_out(Kind.GET)
            said.append(f"{order}: {gets} GETs, {got / MIB:.0f} MiB, {took_s:.1f} s")
            assert gets <= GETS_MAX, f"{count} small files, {said[-1]}; at most {GETS_MAX} GETs"
    return f"{count} files of up to 16 KiB, 30 ms; {'; '.join(said)} (at most {GETS_MAX} GETs)"


def check_puts(scale: float) -> str:
    count = max(1000, int(DEMOTED_FILES * scale))
    with folder(need_bytes=count * 16 * KIB) as base, serving(base / "oss") as oss, cold_volume(base, oss) as volume:
        began_s = time.monotonic()
        write(volume.point, count, size=SIZE)
        wrote_s = time.monotonic() - began_s
        began_s = time.monotonic()
        volume.demote()
        demoted_s = time.monotonic() - began_s
        puts, packs = oss.counts.requests(Kind.PUT), oss.counts.requests(Kind.PUT, key="*/packs/*")
        assert puts <= PUTS_MAX, f"{count} files of 4 KiB: {puts} PUTs, {packs} of packs; at most {PUTS_MAX}"
        volume.forget()
        draw = random.Random(2)
        for number in draw.sample(range(count), 500):
            path = volume.point / f"d{number // PER_FOLDER}" / f"f{number}"
            assert path.read_bytes() == random.Random(number).randbytes(SIZE), path
    return (
        f"{count} files of 4 KiB written in {wrote_s:.0f} s, demoted in {demoted_s:.0f} s: {puts} PUTs in all since the"
        f" bucket was attached, {packs} of packs (at most {PUTS_MAX})"
    )
