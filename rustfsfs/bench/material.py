"""What is written: bytes and trees that are the same each time, incompressible or like source code."""

import functools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from rustfsfs.units import MIB

BLOCK_BYTES = MIB
LINE_COUNT = 6_000
PARAGRAPH_COUNT, PARAGRAPH_LINES = 8_192, 14  # 4 MiB of paragraphs: few occur twice within one chunk
WORDS = re.findall(
    r"\w+",
    """
    return if else for while static const struct int long unsigned void size_t char break case switch continue
    goto inode entry buffer offset length page block device driver register flags mask lock unlock mutex list
    head next prev node tree root key value index count state status error result file path name data info ctx
    dev priv
    """,
)
SHAPES = (
    "\t{a} = {b}_{c}({d}, &{a}->{b});\n",
    "\tif ({a} < {n} || !{b}->{c})\n",
    "\t\treturn -{E};\n",
    "\tfor ({a} = 0; {a} < {b}->{c}_count; {a}++) {{\n",
    "static int {a}_{b}_{c}(struct {a} *{d}, unsigned long {b})\n{{\n",
    "#define {A}_{B}_{C}\t0x{n:04x}\n",
    "\t/* The {a} of {b} must not be {c} before the {d} is {a}. */\n",
    '\t\tpr_err("{a}: {b} failed with %d\\n", {d});\n',
    "\t}}\n\n",
    "}}\n\n",
)


def noise(size_bytes: int, *, seed: int) -> bytes:
    """Incompressible, and unlike that of any other seed: AES in counter mode, several GB a second."""
    key = seed.to_bytes(16)
    return Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(size_bytes))


def text(size_bytes: int, *, seed: int) -> bytes:
    """Like source code: zstd makes it some 4 times smaller, and there is next to nothing to deduplicate."""
    chooser, found = random.Random(seed), bytearray()
    while len(found) < size_bytes:
        found += b"".join(chooser.choices(_paragraphs(), k=64))
        found += b"/* %016x */\n" % chooser.getrandbits(64)
    return bytes(found[:size_bytes])


@functools.cache
def _paragraphs() -> list[bytes]:
    chooser = random.Random(1)
    lines = [_line(chooser).encode() for _ in range(LINE_COUNT)]
    return [b"".join(chooser.choices(lines, k=PARAGRAPH_LINES)) for _ in range(PARAGRAPH_COUNT)]


def _line(chooser: random.Random) -> str:
    a, b, c, d = (chooser.choice(WORDS) for _ in range(4))
    capitals = {"A": a.upper(), "B": b.upper(), "C": c.upper(), "E": d.upper()}
    return chooser.choice(SHAPES).format(a=a, b=b, c=c, d=d, n=chooser.randrange(1 << 16), **capitals)


def noise_blocks(size_bytes: int, *, seed: int) -> Iterator[bytes]:
    """`size_bytes`, a multiple of BLOCK_BYTES, block by block."""
    return (noise(BLOCK_BYTES, seed=(seed << 32) + number) for number in range(size_bytes // BLOCK_BYTES))


def text_blocks(size_bytes: int, *, seed: int) -> Iterator[bytes]:
    return (text(BLOCK_BYTES, seed=(seed << 32) + number) for number in range(size_bytes // BLOCK_BYTES))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the source tree: its path below the root, and its size."""

    path: str
    size_bytes: int
    seed: int

    def contents(self) -> bytes:
        return text(self.size_bytes, seed=self.seed)


def source_tree(file_count: int) -> list[SourceFile]:
    """A tree like a kernel's: some 20 files a directory up to 5 deep, sizes log-normal, median 4 KiB, mean 8 KiB."""
    chooser, folders, found = random.Random(2), ["src"], []
    for number in range(file_count):
        if number >= 20 * len(folders):
            above = chooser.choice([folder for folder in folders if folder.count("/") < 4])
            folders.append(f"{above}/{chooser.choice(WORDS)}{len(folders)}")
        name = f"{chooser.choice(WORDS)}_{chooser.choice(WORDS)}{number}.{chooser.choice('cch')}"
        size_bytes = max(64, min(256 * 1024, int(chooser.lognormvariate(8.3, 1.15))))
        found.append(SourceFile(f"{chooser.choice(folders[-8:])}/{name}", size_bytes, number))
    return found
