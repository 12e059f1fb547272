"""The judgement of make test-leaks: noise passes, a leak does not; and a row too many is found."""

import random

import pytest

from rustfsfs.cli.secrets import read_secret
from rustfsfs.meta.database import Metadata
from rustfsfs.volume.formatting import METADATA
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.upgrading import open_metadata
from rustfsfs.world import real_world
from tests.long.leaks import Samples, judge, tables
from tests.mounted import Mounted

COUNT = 1700  # samples of half an hour
MIB = 1024  # in KiB


def seen(*, rss: float = 0, fds: float = 0, threads: float = 0, peak: int = 0) -> Samples:
    """Half an hour with noise in which so much is added with every sample, after the caches have filled."""
    draw = random.Random(1)
    return Samples(
        rss_kib=[int(min(n, 200) * MIB + 100 * MIB + draw.gauss(0, 6 * MIB) + n * rss) for n in range(COUNT)]
        + [peak] * bool(peak),
        fds=[int(38 + draw.randrange(-10, 10) + n * fds) for n in range(COUNT)],
        threads=[int(6 + draw.randrange(-2, 3) + n * threads) for n in range(COUNT)],
    )


def test_noise_and_caches_that_fill_are_no_leak() -> None:
    assert judge(seen()).startswith("resident 29")


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        pytest.param(
            seen(rss=150 * 150 / 1024), "memory grew", id="100 bytes an operation, 150 with overhead, 150 a second"
        ),
        pytest.param(seen(fds=0.05), "descriptors grew", id="a descriptor in 20 samples"),
        pytest.param(seen(threads=0.01), "threads grew", id="a thread in 100 samples"),
        pytest.param(seen(peak=700 * MIB), "memory grew", id="more than the bound, once"),
    ],
)
def test_a_leak_is_told(samples: Samples, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        judge(samples)


@pytest.mark.fuse
@pytest.mark.slow  # mounts
@pytest.mark.parametrize(
    ("sql", "what"),
    [
        pytest.param("DELETE FROM chunks", "extents without their chunk", id="no chunk"),
        pytest.param("DELETE FROM extents; DELETE FROM maybe_dead", "outside maybe_dead", id="no extent"),
        pytest.param(
            "UPDATE packs SET size_bytes = size_bytes + 1", "the totals say", id="a dead byte that is not there"
        ),
        pytest.param("DELETE FROM packs", "nothing to look at", id="no pack"),
    ],
)
def test_tables_that_do_not_agree_are_told(mounted: Mounted, sql: str, what: str) -> None:
    (mounted.point / "file").write_bytes(random.Random(1).randbytes(20_000))  # one chunk: less than the smallest cut
    mounted.seal()
    mounted.umount()
    assert tables(mounted).startswith("1 extents")
    metadata = opened(mounted)
    metadata.run(sql)
    metadata.close()
    with pytest.raises(AssertionError, match=what):
        tables(mounted)


def opened(mounted: Mounted) -> Metadata:
    world, path = real_world(), str(mounted.volume)
    _header, keys = unlocked(world, path, read_secret(None, str(mounted.key), None))
    return open_metadata(world, f"{path}/{METADATA}", keys)
