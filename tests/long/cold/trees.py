"""Trees to copy: seeded, so that nobody has to keep what is compared."""

import os
import random
from pathlib import Path

from rustfsfs.units import KIB, MIB

WORDS = [f"{word}{number}" for word in ("pack", "frame", "chunk", "bucket", "journal") for number in range(400)]


def text(draw: random.Random, size_bytes: int) -> bytes:
    """Compresses as text does."""
    found = " ".join(draw.choices(WORDS, k=size_bytes // 6 + 1)).encode()
    return found[:size_bytes]


def mixed(root: Path, total_bytes: int, *, seed: int = 1) -> int:
    """Large and small, text and noise, doubles, holes, links, odd names; returns how many files."""
    draw, made, left = random.Random(seed), 0, total_bytes
    root.mkdir()
    kinds = [(200 * KIB, 0.5), (3 * MIB, 0.3), (40 * MIB, 0.2)]
    last = b"first"
    while left > 0:
        parent = root / f"d{made % 37}" / f"e{made % 5}"
        parent.mkdir(parents=True, exist_ok=True)
        size = int(draw.expovariate(1 / draw.choices([size for size, _ in kinds], [share for _, share in kinds])[0]))
        kind = draw.random()
        data = last if kind < 0.05 else text(draw, size) if kind < 0.3 else draw.randbytes(size)
        last = data if len(data) < 4 * MIB else last
        path = parent / f"f{made} \u00e4\n{draw.randrange(10)}"
        path.write_bytes(data)
        if made % 50 == 0:
            os.truncate(path, len(data) + MIB)
            (parent / f"link{made}").symlink_to(f"../{path.name}")
            os.link(path, parent / f"second{made}")
        if made % 60 == 0:
            (parent / f"empty{made}").touch()
        left -= max(len(data), 1)
        made += 1
    return made
