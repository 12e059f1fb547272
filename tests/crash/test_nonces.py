"""The watch over nonces notices what it is there for, sees every kind of sealing, and no more than one timeline."""

import errno
from pathlib import Path

import pytest

from rustfsfs.content.aead import Aead
from tests.crash import nonces
from tests.crash.disk import CrashFiles, Everything
from tests.crash.nonces import WATCH, begin_life, watched
from tests.crash.story import Faults, replayed, told, told_after

KEY, OTHER_KEY, NONCE, OTHER_NONCE = b"k" * 32, b"o" * 32, b"n" * 12, b"m" * 12


def seal(key: bytes, nonce: bytes, plain: bytes = b"plain") -> None:
    Aead(key).seal(nonce, plain, b"")


def act(disk: CrashFiles) -> None:
    disk.create(f"/{disk.actions}")


def test_a_nonce_used_twice_under_one_key_is_noticed() -> None:
    with pytest.raises(AssertionError, match="twice"), watched():
        begin_life(CrashFiles())
        seal(KEY, NONCE)
        seal(KEY, OTHER_NONCE)
        seal(OTHER_KEY, NONCE)
        assert WATCH.repeated == []
        Aead(KEY).seal_into(NONCE, b"other", b"", memoryview(bytearray(21)))


def test_equal_bytes_do_not_excuse_it() -> None:
    with pytest.raises(AssertionError, match="twice"), watched():
        begin_life(CrashFiles())
        seal(KEY, NONCE)
        seal(KEY, NONCE)


def test_a_key_of_an_earlier_life_is_noticed_although_nothing_of_it_was_left() -> None:
    with pytest.raises(AssertionError, match="earlier life"), watched():
        disk = CrashFiles()
        begin_life(disk)
        act(disk)
        seal(KEY, NONCE)
        act(disk)
        (_cut, twin), *_ = disk.cuts(1, 1)
        begin_life(next(twin.states(limit=1, seed=0)))
        seal(KEY, OTHER_NONCE)


def test_what_a_life_sealed_after_the_cut_never_happened() -> None:
    with watched():
        disk = CrashFiles()
        begin_life(disk)
        act(disk)
        act(disk)
        seal(KEY, NONCE)
        for cut, twin in disk.cuts(0, 1):
            for left in twin.states(limit=4, seed=0):
                begin_life(left)
                seal(KEY, NONCE)  # nor do these lives know of each other
                assert WATCH.repeated == [], cut


def test_a_state_is_judged_against_every_past_that_leads_to_it() -> None:
    with watched():
        disk = CrashFiles()
        begin_life(disk)
        act(disk)
        act(disk)
        seal(KEY, NONCE)
        early, late = (twin.power_loss(Everything()) for _cut, twin in disk.cuts(1, 2))
        life = begin_life(early)
        seal(KEY, OTHER_NONCE)
        assert not life.repeats(life.before) and life.repeats(late.past)


def test_every_kind_of_sealing_passes_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segment headers, ops, pieces, frames, pack directories, disk headers, the slots of the volume's header."""
    seen: list[bytes] = []
    encrypt, encrypt_into = nonces.WatchedCipher.encrypt, nonces.WatchedCipher.encrypt_into

    def noting(cipher: nonces.WatchedCipher, nonce: bytes, plain: bytes, aad: bytes, *out: memoryview) -> object:
        seen.append(aad)
        return encrypt_into(cipher, nonce, plain, aad, *out) if out else encrypt(cipher, nonce, plain, aad)

    monkeypatch.setattr(nonces.WatchedCipher, "encrypt", noting)
    monkeypatch.setattr(nonces.WatchedCipher, "encrypt_into", noting)
    story = told(tmp_path / "v", ("write", "seal", "snapshot"))
    assert {aad[:4] for aad in seen} == {b"rfjh", b"rfjo", b"rfjp", b"rffr", b"rfpa", b"rfdi", b"rust"}
    assert sum(len(life.pairs) for life, _until in story.files.past) == len(seen)


def test_what_only_reads_seals_nothing(tmp_path: Path) -> None:
    story = told(tmp_path / "v", ("write",))
    left = story.files.power_loss(Everything())
    replayed(story.path, left)
    reader, _until = left.past[-1]
    assert reader.before and not reader.pairs


@pytest.mark.parametrize("how", [errno.EIO, "short"])
def test_a_record_is_sealed_anew_after_its_append_or_its_sync_failed(tmp_path: Path, how: int | str) -> None:
    steps = ("write", "fsync", "overwrite", "fsync")
    well = told(tmp_path / "well", steps)
    faults: Faults = {"pwrite": [how], "sync": [errno.EIO]}
    story = told(tmp_path / "v", steps, faults=faults, well=well)
    assert not story.files.failing["pwrite"] and not story.files.failing["sync"]
    after = told_after(story.path, story.files.power_loss(Everything()), steps)
    assert len(after.files.past) == 3
