"""Opening a volume that has a bucket: nothing is asked of it, and what is wrong with it stops nobody."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs import ops
from rustfsfs.cache.pieces import BLOCK, Piece, PieceIndex
from rustfsfs.config import Cache, Config
from rustfsfs.store.address import parse_address
from rustfsfs.units import ROOT
from rustfsfs.volume import names
from rustfsfs.volume.bucketfile import BucketFile, write_bucket_file
from rustfsfs.volume.connecting import begin_cache, fill
from rustfsfs.volume.recording import record
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import InMemory, new_file
from tests.volume.on_disk import format_in

NOBODY_LISTENS = parse_address("oss://packs/vol", endpoint="http://127.0.0.1:1", region="cn-test")
FILE = BucketFile(address=NOBODY_LISTENS, credentials="/nowhere/credentials.toml")

pieces = st.builds(Piece, st.integers(1, 9), st.just(1), st.integers(0, 4), st.integers(1, 6 * BLOCK))


@given(found=st.lists(pieces, unique=True))
def test_what_does_not_fit_on_the_cache_disk_is_named(found: list[Piece]) -> None:
    index = PieceIndex(20 * BLOCK)
    left = fill(index, found)
    assert len(left) == len(set(left)) and index.bytes <= 20 * BLOCK
    assert len(found) == len(left) + len(index)
    assert all(index.holds(piece) for piece in found if piece not in left)


@pytest.fixture
def home(tmp_path: Path) -> InMemory:
    return InMemory(tmp_path)


async def attach(home: InMemory, *, tiered: bool = True, file: BucketFile | None = FILE) -> None:
    async with home.opened() as volume:
        new_file(volume, b"f")
        if tiered:
            record(volume, ops.AttachBucket())
        if file is not None:
            write_bucket_file(home.files, str(home.path), file)


async def test_a_volume_opens_during_an_outage_with_a_door_to_its_bucket(home: InMemory) -> None:
    await attach(home)
    async with home.opened() as volume:
        assert volume.tier.door is not None and volume.tier.door.name == "oss://packs/vol"
        assert volume.tier.trouble is None
        facts = volume.tier.door.breaker.facts()
        assert (facts.answered_count, facts.failed_count, facts.refused_count) == (0, 0, 0)
        assert volume.tier.files is not None
    async with home.opened(read_only=True) as volume:
        assert volume.tier.door is not None and volume.tier.files is not None


@pytest.mark.parametrize(
    ("tiered", "text", "says"),
    [
        pytest.param(True, None, "is not there; rustfsfs bucket attach", id="no file"),
        pytest.param(True, "url = ", "is not TOML", id="a damaged file"),
        pytest.param(False, "", "attach it again", id="attaching was cut off"),
    ],
)
async def test_trouble_with_the_bucket_is_told_and_the_volume_opens(
    home: InMemory, tiered: bool, text: str | None, says: str
) -> None:
    await attach(home, tiered=tiered, file=None if text is None else FILE)
    if text:
        fd = home.files.create(f"{home.path}/bad")
        home.files.pwrite(fd, text.encode(), 0)
        home.files.close(fd)
        home.files.rename(f"{home.path}/bad", f"{home.path}/bucket.toml")
    async with home.opened() as volume:
        assert volume.tier.door is None
        assert volume.tier.trouble is not None and says in volume.tier.trouble
        assert names.lookup(volume, ROOT, b"f").is_file


async def test_without_a_bucket_there_is_no_door_no_trouble_and_no_cache(home: InMemory) -> None:
    await attach(home, tiered=False, file=None)
    async with home.opened() as volume:
        assert (volume.tier.door, volume.tier.trouble, volume.tier.files) == (None, None, None)
    assert not home.files.exists(f"{home.path}/cold")


async def test_pieces_of_an_earlier_life_are_kept_up_to_the_limit(home: InMemory) -> None:
    await attach(home)
    found = [Piece(pack, 1, 0, 3 * BLOCK) for pack in range(1, 8)]
    async with home.opened() as volume:
        assert volume.tier.files is not None
        for piece in found:
            volume.tier.files.write(piece, bytes(piece.size_bytes))
    async with home.opened(config=Config(cache=Cache(disk_bytes=16 * BLOCK))) as volume:
        assert sum(volume.tier.pieces.holds(piece) for piece in found) == 5
        assert len(home.files.names(f"{home.path}/cold")) == 5


class ReadOnlyDisk(CrashFiles):
    read_only = False

    def space(self, path: str) -> Space:
        return super().space(path)._replace(read_only=self.read_only)


async def test_on_a_read_only_file_system_nothing_is_kept(tmp_path: Path) -> None:
    files = ReadOnlyDisk()
    home = InMemory(tmp_path, files=files)
    async with home.opened() as volume:
        before = files.names(str(home.path))
        files.read_only = True
        await begin_cache(volume)
        assert volume.tier.files is None
        assert files.names(str(home.path)) == before
        files.read_only = False
        await begin_cache(volume)
        assert volume.tier.files is not None


LOADED = """
import sys
from pathlib import Path
from tests.volume.on_disk import change
import rustfsfs.mount

async def nothing(volume): pass

change(Path(sys.argv[1]), nothing)
print(sorted({"oss2", "requests"} & set(sys.modules)))
"""


@pytest.mark.slow  # another process, whose modules are asked for
def test_who_has_no_bucket_does_not_load_the_sdk(tmp_path: Path) -> None:
    path = format_in(tmp_path / "v")
    done = subprocess.run([sys.executable, "-c", LOADED, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
