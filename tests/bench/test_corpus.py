"""The corpus is the same each time, and its versions differ as they should."""

import random
from pathlib import Path

from rustfsfs.bench import corpus, material
from rustfsfs.units import KIB, MIB


def versions(file_count: int, version_count: int) -> list[list[corpus.Member]]:
    made = [corpus.first_version(file_count)]
    for number in range(1, version_count):
        made.append(corpus.next_version(made[-1], number))
    return made


def test_a_version_edits_drops_adds_and_renames_a_few_files() -> None:
    before, after = versions(4_000, 2)
    old, new = {member.path: member for member in before}, {member.path: member for member in after}
    assert len(new) == len(after), "two files of one name"
    edited = [path for path in old.keys() & new.keys() if old[path] != new[path]]
    assert 80 < len(edited) < 160 and all(new[path].edits == (1,) for path in edited)
    appeared = [new[path] for path in new.keys() - old.keys()]
    seeds = {member.seed for member in before}
    renamed = [member for member in appeared if member.seed in seeds]
    assert 20 < len(renamed) < 60 and 20 < len(appeared) - len(renamed) < 60
    assert 20 < len(old.keys() - new.keys()) - len(renamed) < 60


def test_versions_are_the_same_each_time() -> None:
    assert versions(300, 4) == versions(300, 4)


def test_no_version_has_two_files_of_one_name() -> None:
    for members in versions(2_000, 5):
        assert len({member.path for member in members}) == len(members)


def test_an_edit_changes_a_few_places_and_nothing_else() -> None:
    data = material.code(64 * KIB, seed=1)
    after = corpus.edited(data, random.Random(1))
    assert after == corpus.edited(data, random.Random(1)) != data
    assert abs(len(after) - len(data)) <= 600
    lost = set(data.split(b"\n")) - set(after.split(b"\n"))
    assert 0 < len(lost) <= 3 * 20 < 10 * 3 * 20 < data.count(b"\n")


def test_what_was_edited_is_newer() -> None:
    member = corpus.Member("src/a.c", 100, 1)
    assert member.changed_s == corpus.FIRST_S
    assert corpus.Member("src/a.c", 100, 1, 1, (3,)).changed_s == corpus.FIRST_S + 3 * corpus.VERSION_S


def test_a_corpus_is_made_of_trees_tar_files_and_images(tmp_path: Path) -> None:
    parts = corpus.make(tmp_path, corpus.TINY)
    assert [part.name for part in parts] == ["directories", "tar files", "image", "edited image"]
    trees, tars, (image,), (copy,) = (part.paths for part in parts)
    assert len(trees) == len(tars) == corpus.TINY.version_count
    assert {path.name for path in tmp_path.iterdir()} == {path.name for part in parts for path in part.paths}
    assert image.stat().st_size == corpus.TINY.image_bytes
    before, after = image.read_bytes(), copy.read_bytes()
    assert len(after) == len(before) + corpus.TINY.appended_bytes
    starts = range(0, len(before), corpus.EDIT_BYTES)
    differ = [at for at in starts if before[at : at + corpus.EDIT_BYTES] != after[at : at + corpus.EDIT_BYTES]]
    assert 0 < len(differ) <= corpus.TINY.edit_count
    assert before[1080:1082] == b"\x53\xef"  # ext4's magic
    assert len(before.rstrip(b"\0")) > MIB
