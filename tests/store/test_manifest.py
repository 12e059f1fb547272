"""What lies below meta/: no manifest opens but as it was sealed, under its own name, for its own volume."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.content.keys import Keys, derive_keys
from rustfsfs.errors import DamagedData
from rustfsfs.store.manifest import (
    SALT_SIZE,
    DiskEntry,
    Manifest,
    Part,
    copies,
    copy_name,
    epoch_of,
    is_whole,
    manifest_key,
    open_manifest,
    part_key,
    part_mac,
    seal_manifest,
)

UUID, OTHER = b"u" * 16, b"o" * 16
KEYS = derive_keys(b"m" * 32, UUID)
SALT = bytes(range(SALT_SIZE))
numbers = st.integers(0, (1 << 63) - 1)
manifests = st.builds(
    Manifest,
    epoch=numbers,
    seq=numbers,
    committed_ns=numbers,
    parts=st.lists(st.builds(Part, size_bytes=numbers, mac=st.binary(min_size=32, max_size=32)), max_size=5),
    config_text=st.binary(max_size=50),
    disks=st.lists(st.builds(DiskEntry, number=numbers, uuid=st.just(UUID), path=st.text(max_size=9)), max_size=3),
    hot_bytes=numbers,
    local_packs=numbers,
    local_bytes=numbers,
)
ONE = Manifest(
    epoch=7,
    seq=9,
    committed_ns=1,
    parts=[],
    config_text=b"",
    disks=[],
    hot_bytes=0,
    local_packs=0,
    local_bytes=0,
)


def sealed(manifest: Manifest, *, salt: bytes = SALT, keys: Keys = KEYS, uuid: bytes = UUID) -> bytes:
    return seal_manifest(manifest, salt=salt, keys=keys, uuid=uuid)


@given(manifest=manifests, salt=st.binary(min_size=SALT_SIZE, max_size=SALT_SIZE))
def test_what_is_sealed_opens_under_its_name(manifest: Manifest, salt: bytes) -> None:
    name = copy_name(manifest.epoch, salt)
    assert epoch_of(name) == manifest.epoch
    assert open_manifest(sealed(manifest, salt=salt), name=name, keys=KEYS, uuid=UUID) == (manifest, salt)


@given(data=st.data())
def test_no_flipped_bit_opens(data: st.DataObject) -> None:
    spoilt = bytearray(sealed(ONE))
    bit = data.draw(st.integers(0, len(spoilt) * 8 - 1))
    spoilt[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedData):
        open_manifest(bytes(spoilt), name=copy_name(7, SALT), keys=KEYS, uuid=UUID)


@given(garbage=st.binary(max_size=100))
def test_garbage_is_damage(garbage: bytes) -> None:
    with pytest.raises(DamagedData):
        open_manifest(garbage, name=copy_name(7, SALT), keys=KEYS, uuid=UUID)


@pytest.mark.parametrize(
    ("name", "keys", "uuid"),
    [
        pytest.param(copy_name(8, SALT), KEYS, UUID, id="a newer name"),
        pytest.param(copy_name(7, bytes(SALT_SIZE)), KEYS, UUID, id="another copy's name"),
        pytest.param(copy_name(7, SALT), derive_keys(b"n" * 32, UUID), UUID, id="another key"),
        pytest.param(copy_name(7, SALT), KEYS, OTHER, id="another volume"),
    ],
)
def test_nor_is_it_anothers(name: str, keys: Keys, uuid: bytes) -> None:
    with pytest.raises(DamagedData):
        open_manifest(sealed(ONE), name=name, keys=keys, uuid=uuid)


def test_a_part_is_proved_for_its_place_in_its_copy() -> None:
    one = part_mac(b"data", 0, salt=SALT, keys=KEYS)
    others = [
        part_mac(b"date", 0, salt=SALT, keys=KEYS),
        part_mac(b"data", 1, salt=SALT, keys=KEYS),
        part_mac(b"data", 0, salt=bytes(SALT_SIZE), keys=KEYS),
        part_mac(b"data", 0, salt=SALT, keys=derive_keys(b"n" * 32, UUID)),
    ]
    assert one not in others


def test_copies_are_found_by_their_names_and_strangers_are_not() -> None:
    old, new = copy_name(2, SALT), copy_name(10, SALT)
    strange = ["meta/header", "meta/mine", f"meta/{old}/mine", f"packs/{old}/000000", f"meta/{old}/000000/x"]
    keys = [part_key(new, 1), part_key(new, 0), *strange, manifest_key(new), part_key(old, 0)]
    found = copies(sorted(keys))
    assert list(found) == [old, new]
    assert found[new] == [manifest_key(new), part_key(new, 0), part_key(new, 1)]
    assert is_whole(found[new]) and not is_whole(found[old])
