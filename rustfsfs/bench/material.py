"""What is written: bytes and trees that are the same each time, incompressible or like source code."""

import functools
import itertools
import random
import re
from collections.abc import Iterator, Sequence
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
UNIT_BYTES = 16 * 1024  # of code with names and phrases of its own, as a file or a part of one has
NAME_COUNT, UNIT_NAMES, UNIT_PHRASES, COMMON_PHRASES = 30_000, 90, 260, 4_000
PHRASE_BYTES_MIN = 9  # in the mean more, so that there are always enough
SEPARATORS = (" ", "(", ", ", ") ", "->", ".", ";\n\t", " = ", ");\n\t\t", "_", "_", "_", " ", "(&")
ONSETS = [*"bcdfghlmnprstvw", "st", "tr", "pr"]


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


def code(size_bytes: int, *, seed: int) -> bytes:
    """Source code by word statistics: names and phrases as rare as in real code, most of them at home in one unit.

    zstd's level 3 makes it 2.9, 4.2 and 4.5 times smaller in pieces of 8 KiB, 256 KiB and 1 MiB; Python's own modules
    3.2, 4.1 and 4.3 times, /usr/include 3.5, 4.7 and 4.9 times (measured). `text` gains 29 % more between the last two.
    """
    units = range(-(-size_bytes // UNIT_BYTES))
    return b"".join(_unit((seed << 20) + number) for number in units)[:size_bytes]


def _unit(seed: int) -> bytes:
    chooser = random.Random(seed)
    names, common = _names(), _common_phrases()
    own_names = chooser.choices(names, cum_weights=_zipf(len(names), 8), k=UNIT_NAMES - len(WORDS)) + WORDS
    own = [_phrase(chooser, own_names, chooser.choice((1, 2, 2, 3, 4))) for _ in range(UNIT_PHRASES)]
    count = UNIT_BYTES // PHRASE_BYTES_MIN
    found = chooser.choices(own, cum_weights=_zipf(len(own), 6), k=count)
    found[::2] = chooser.choices(common, cum_weights=_zipf(len(common), 4), k=count)[::2]
    return "".join(found).encode()[:UNIT_BYTES]


def _phrase(chooser: random.Random, names: Sequence[str], count: int) -> str:
    pairs = zip(chooser.choices(names, k=count), chooser.choices(SEPARATORS, k=count), strict=True)
    return "".join(itertools.chain.from_iterable(pairs))


@functools.cache
def _names() -> list[str]:
    chooser = random.Random(3)
    syllables = [a + b + c for a in ONSETS for b in "aeiou" for c in ("", "n", "r", "s", "t")]
    names = sorted({"".join(chooser.choices(syllables, k=chooser.randrange(1, 4))) for _ in range(NAME_COUNT)})
    chooser.shuffle(names)
    return names


@functools.cache
def _common_phrases() -> list[str]:
    chooser, names = random.Random(4), WORDS + _names()[:300]
    return [_phrase(chooser, names, chooser.choice((1, 1, 2, 3))) for _ in range(COMMON_PHRASES)]


@functools.cache
def _zipf(count: int, shift: int) -> list[float]:
    """Weights 1 / (rank + shift), summed up (Zipf's law, flattened at the front)."""
    return list(itertools.accumulate(1 / (rank + shift) for rank in range(count)))


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
