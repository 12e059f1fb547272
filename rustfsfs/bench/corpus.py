"""The corpus of `make bench-corpus`: five versions of a source tree, each as a directory and as a tar file, and the
image of a virtual machine's disk with an edited copy. What stores it, and how much that takes, is in `stored`.

The same bytes each time, except for the times of change that mke2fs writes into the image, and what the machine's
mke2fs.conf asks for.
"""

import os
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rustfsfs.bench import material
from rustfsfs.bench.programs import run
from rustfsfs.units import KIB, MIB

EDIT_BYTES = 4 * KIB
EDITED_SHARE, OTHER_SHARE = 0.03, 0.01  # of a version's files that the next one edits; that it drops, adds, renames
BINARY_SHARE = 0.03  # of a tree's files
FIRST_S, VERSION_S = 1_760_000_000, 86_400  # when the first version was made, and how much later each next
IMAGE_ID = "0d0e0f10-0000-4000-8000-000000000001"
IMAGE_SETTINGS = {"E2FSPROGS_FAKE_TIME": str(FIRST_S)}
KINDS = ("code", "mixed", "mixed", "noise")  # of files in the image, in turn: sources, programs, packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Sizes are bytes; those of the image multiples of 1 MiB."""

    file_count: int  # of the first version
    version_count: int
    image_bytes: int
    filled_bytes: int  # about, with files
    edit_count: int  # of EDIT_BYTES each, in the copy
    appended_bytes: int  # to the copy


FULL = Size(
    file_count=4_000,
    version_count=5,
    image_bytes=512 * MIB,
    filled_bytes=400 * MIB,
    edit_count=500,
    appended_bytes=16 * MIB,
)
TINY = Size(  # of the tests
    file_count=60,
    version_count=2,
    image_bytes=8 * MIB,
    filled_bytes=2 * MIB,
    edit_count=4,
    appended_bytes=MIB,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One row of the table: what is stored in turn."""

    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a version. `edits`: the versions that edited it, in order; `made`: the one it is from, from 0."""

    path: str
    size_bytes: int
    seed: int
    made: int = 0
    edits: tuple[int, ...] = ()

    def contents(self) -> bytes:
        is_binary = random.Random(f"kind {self.seed}").random() < BINARY_SHARE
        data = (material.noise if is_binary else material.code)(self.size_bytes, seed=self.seed)
        for edit in self.edits:
            data = edited(data, random.Random(f"{self.seed} {edit}"))
        return data

    @property
    def changed_s(self) -> int:
        """Its time of modification: that of the version which wrote it last."""
        return FIRST_S + VERSION_S * max((self.made, *self.edits))


def first_version(file_count: int) -> list[Member]:
    """As `material.source_tree`: its paths and sizes."""
    return [Member(file.path, file.size_bytes, file.seed) for file in material.source_tree(file_count)]


def next_version(members: Iterable[Member], number: int) -> list[Member]:
    """What becomes of a version: some files edited, fewer dropped, added, and renamed where they lie."""
    found: list[Member] = []
    chooser = random.Random(number)
    for member in members:
        luck = chooser.random()
        folder, _, name = member.path.rpartition("/")
        if luck < EDITED_SHARE:
            found.append(replace(member, edits=(*member.edits, number)))
        elif luck < EDITED_SHARE + OTHER_SHARE:
            continue
        elif luck < EDITED_SHARE + 2 * OTHER_SHARE:
            found.append(replace(member, path=f"{folder}/new{number}_{name}"))
        elif luck < EDITED_SHARE + 3 * OTHER_SHARE:
            added = Member(f"{folder}/add{number}_{name}", member.size_bytes, (number << 24) + member.seed, number)
            found += [member, added]
        else:
            found.append(member)
    return found


def edited(data: bytes, chooser: random.Random) -> bytes:
    """One to three places where some bytes make room for others, as many or not."""
    for _ in range(chooser.randint(1, 3)):
        at, dropped, added = chooser.randrange(len(data)), chooser.randrange(120), chooser.randrange(1, 200)
        data = data[:at] + material.code(added, seed=chooser.getrandbits(32)) + data[at + dropped :]
    return data


def make(folder: Path, size: Size) -> list[Part]:
    """The corpus below an empty directory. Raises MachineTrouble (no tar, no mke2fs)."""
    trees, tars, members = [], [], first_version(size.file_count)
    for number in range(size.version_count):
        if number:
            members = next_version(members, number)
        trees.append(_write_tree(folder / f"v{number + 1}", members, FIRST_S + VERSION_S * number))
        tars.append(_pack(trees[-1]))
    image, copy = folder / "disk.img", folder / "disk-edited.img"
    _make_image(image, size)
    shutil.copyfile(image, copy)
    _edit_image(copy, size)
    return [
        Part("directories", tuple(trees)),
        Part("tar files", tuple(tars)),
        Part("image", (image,)),
        Part("edited image", (copy,)),
    ]


def _write_tree(root: Path, members: Iterable[Member], made_s: int) -> Path:
    for member in members:
        path = root / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.contents())
        os.utime(path, (member.changed_s, member.changed_s))
    for above, _folders, _files in os.walk(root, topdown=False):
        os.utime(above, (made_s, made_s))
    return root


def _pack(tree: Path) -> Path:
    archive = tree.with_name(f"{tree.name}.tar")
    settings = ["--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    run("tar", *settings, "-cf", archive, "-C", tree, ".")
    return archive


def _make_image(image: Path, size: Size) -> None:
    """ext4, filled with files of all kinds: code, noise, and both in turn."""
    files = image.with_suffix(".files")
    chooser, filled_bytes, number = random.Random(5), 0, 0
    while filled_bytes < size.filled_bytes:
        path = files / f"d{number // 50}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size_bytes = max(EDIT_BYTES, min(4 * MIB, int(chooser.lognormvariate(10.3, 1.6))))
        path.write_bytes(_image_file(KINDS[number % len(KINDS)], size_bytes, number))
        os.utime(path, (FIRST_S, FIRST_S))
        filled_bytes, number = filled_bytes + size_bytes, number + 1
    settings = ["-q", "-t", "ext4", "-b", "4096", "-U", IMAGE_ID, "-E", f"hash_seed={IMAGE_ID},root_owner=0:0"]
    run("mke2fs", *settings, "-d", files, image, f"{size.image_bytes // MIB}M", **IMAGE_SETTINGS)
    shutil.rmtree(files)


def _image_file(kind: str, size_bytes: int, number: int) -> bytes:
    seed = (1 << 40) + number
    if kind == "code":
        return material.code(size_bytes, seed=seed)
    noise = material.noise(size_bytes, seed=seed)
    if kind == "noise":
        return noise
    code = material.code(size_bytes // 2, seed=seed)
    starts = range(0, size_bytes // 2, 2 * KIB)
    return b"".join(code[at : at + 2 * KIB] + noise[at : at + 2 * KIB] for at in starts)


def _edit_image(image: Path, size: Size) -> None:
    """Blocks anywhere get other bytes, noise and code in turn; and more follows at the end."""
    chooser = random.Random(6)
    with open(image, "r+b") as file:
        for number in range(size.edit_count):
            file.seek(chooser.randrange(size.image_bytes // EDIT_BYTES) * EDIT_BYTES)
            made = material.noise if number % 2 else material.code
            file.write(made(EDIT_BYTES, seed=(1 << 41) + number))
        file.seek(0, os.SEEK_END)
        file.write(_image_file("mixed", size.appended_bytes, 1 << 30))
