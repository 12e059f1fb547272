"""A sample of rot: every kind of stored object, damaged in every way, with one copy and with two (`make test-rot`)."""

import random
import subprocess
from collections.abc import Iterator

import pytest

from tests.rot.cases import WAYS, draw_case, judge, judged
from tests.rot.stored import KINDS, Rottable

SAMPLE = 2  # of each kind and way


@pytest.fixture(scope="module", params=[1, 2], ids=["one copy", "two copies"])
def volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rottable]:
    """In RAM: small, so its journal is."""
    base = tmp_path_factory.mktemp("rot")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(base)], check=True)
    try:
        made = Rottable(base, request.param)
        made.make()
        yield made
    finally:
        subprocess.run(["umount", "-l", str(base)], check=False)


def test_nothing_is_found_where_nothing_is_damaged(volume: Rottable) -> None:
    assert not judge(volume).detected
    volume.restore()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_and_stays_where_it_is(volume: Rottable, kind: str, way: str) -> None:
    draw = random.Random(f"{kind} {way} {volume.copies}")
    for _ in range(SAMPLE):
        case = draw_case(volume, kind, way, draw)
        try:
            trouble = judged(volume, case) if case is not None else None
        finally:
            volume.restore()
        assert trouble is None, f"{case}: {trouble}"


def test_the_judge_sees_a_wrong_byte(volume: Rottable) -> None:
    right = volume.contents["s0"]
    volume.contents["s0"] = right[:-1] + bytes([right[-1] ^ 1])
    try:
        with pytest.raises(AssertionError, match="s0 came back with wrong bytes"):
            judge(volume)
    finally:
        volume.contents["s0"] = right
        volume.restore()
