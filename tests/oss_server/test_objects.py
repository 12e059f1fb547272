"""The pure state: restores on a clock, and versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oss_server.errors import OssError
from tests.oss_server.objects import DAY_S, NULL, Bucket, StorageClass, Version, Versioning, restored


def version(name: str = "k", *, version_id: str = NULL, blob: str = "1", storage_class: str = "Archive") -> Version:
    return Version(
        key=name,
        version_id=version_id,
        blob=blob,
        size_bytes=1,
        crc64=0,
        etag="",
        storage_class=StorageClass(storage_class),
        modified_s=0.0,
        converted_s=0.0,
    )


def bucket(versioning: Versioning = Versioning.NEVER) -> Bucket:
    return Bucket(name="b", created_s=0.0, region="r", versioning=versioning)


def test_an_archived_object_thaws_and_freezes_again() -> None:
    frozen = version()
    asked, status = restored(frozen, now_s=100.0, days=1, tier="Standard")
    assert (status, frozen.is_frozen(100.0), asked.is_frozen(159.9)) == (202, True, True)
    assert not asked.is_frozen(160.0)
    assert not asked.is_frozen(159.9 + DAY_S)
    assert asked.is_frozen(160.0 + DAY_S)
    assert restored(asked, now_s=161.0 + DAY_S, days=1, tier="Standard")[1] == 202


def test_asking_again_is_refused_while_it_thaws_and_then_gives_more_days() -> None:
    asked, _ = restored(version(), now_s=0.0, days=1, tier="Standard")
    with pytest.raises(OssError, match="RestoreAlreadyInProgress"):
        restored(asked, now_s=59.0, days=1, tier="Standard")
    longer, status = restored(asked, now_s=60.0, days=3, tier="Standard")
    assert (status, longer.is_frozen(60.0 + 2.9 * DAY_S)) == (200, False)


@pytest.mark.parametrize(
    ("storage_class", "tier", "hours"),
    [
        pytest.param("ColdArchive", "Expedited", 1.0, id="cold, fast"),
        pytest.param("ColdArchive", "Bulk", 12.0, id="cold, cheap"),
        pytest.param("DeepColdArchive", "Standard", 48.0, id="deep"),
    ],
)
def test_colder_classes_take_longer(storage_class: str, tier: str, hours: float) -> None:
    asked, _ = restored(version(storage_class=storage_class), now_s=0.0, days=1, tier=tier)
    assert (asked.is_frozen(hours * 3600 - 1), asked.is_frozen(hours * 3600)) == (True, False)


@pytest.mark.parametrize(
    ("storage_class", "days", "tier", "code"),
    [
        pytest.param("Standard", 1, "Standard", "OperationNotSupported", id="not frozen"),
        pytest.param("Archive", 8, "Standard", "InvalidArgument", id="too many days"),
        pytest.param("Archive", 1, "Bulk", "InvalidArgument", id="a tier of another class"),
    ],
)
def test_restores_that_cannot_be(storage_class: str, days: int, tier: str, code: str) -> None:
    with pytest.raises(OssError, match=code):
        restored(version(storage_class=storage_class), now_s=0.0, days=days, tier=tier)


def test_without_versioning_a_new_object_takes_the_place_and_the_last_is_kept_for_the_faults() -> None:
    held = bucket()
    assert held.add(version(blob="1")) == []
    assert held.add(version(blob="2")) == []
    assert [old.blob for old in held.add(version(blob="3"))] == ["1"]
    assert held.find("k").blob == "3" and held.stale["k"].blob == "2"
    assert sorted(old.blob for old in held.remove("k")) == ["2", "3"]
    assert (list(held.keys_from("")), held.stale) == ([], {})


@pytest.mark.parametrize("versioning", list(Versioning))
def test_create_only_holds_without_versioning_and_only_there(versioning: Versioning) -> None:
    held = bucket(versioning)
    held.add(version(blob="1"), forbid_overwrite=True)
    if versioning is Versioning.NEVER:
        with pytest.raises(OssError, match="FileAlreadyExists"):
            held.add(version(blob="2"), forbid_overwrite=True)
    else:
        held.add(version(blob="2"), forbid_overwrite=True)
        assert held.find("k").blob == "2"


steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "remove id"]), st.sampled_from("abc"), st.booleans()))


@given(steps=steps)
def test_what_falls_out_is_what_nothing_names_any_more(steps: list[tuple[str, str, bool]]) -> None:
    """Keeps: blobs there are == those of versions and of what was last overwritten. `versioned`: an add with an id."""
    held, there = bucket(), set()
    for number, (action, key, versioned) in enumerate(steps):
        if action == "add":
            there.add(str(number))
            dropped = held.add(version(key, blob=str(number), version_id=f"v{number}" if versioned else NULL))
        else:
            ids = [one.version_id for one in held.versions.get(key, [])]
            dropped = held.remove(key, ids[0] if action == "remove id" and ids else "")
        there -= {one.blob for one in dropped}
        named = [one.blob for versions in held.versions.values() for one in versions]
        assert sorted([*named, *(one.blob for one in held.stale.values())]) == sorted(there)
        assert list(held.keys_from("")) == sorted(held.versions)
