"""The volume header and its key slots."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.content import slots
from rustfsfs.content.slots import DamagedSlot, Slot, SlotKind, VolumeHeader
from rustfsfs.errors import DamagedVolume, NewerFormat, NotAVolume, RustfsfsError, WrongKey

UUID, MASTER, MAC = b"u" * 16, bytes(range(32)), b"a" * 32


def slot(number: int, kind: SlotKind = SlotKind.KEY_FILE, secret: bytes = b"s" * 32) -> Slot:
    return slots.make_slot(
        number=number,
        kind=kind,
        secret=secret,
        master=MASTER,
        uuid=UUID,
        salt=bytes([number]) * 32,
        nonce=bytes([number]) * 12,
        now_ns=5,
    )


def header(*there: Slot) -> VolumeHeader:
    empty: list[Slot | None] = [None] * slots.SLOT_COUNT
    for one in there:
        empty[one.number] = one
    return VolumeHeader(
        format=slots.FORMAT,
        uuid=UUID,
        created_ns=1,
        chunk_min=1,
        chunk_avg=2,
        chunk_max=3,
        gear_seed=(1 << 62) - 1,
        compression_level=3,
        copies=1,
        segment_bytes=1 << 26,
        slots=tuple(empty),
    )


ENCODED = slots.encode_header(header(slot(0), slot(3)), mac_key=MAC)


def test_what_is_encoded_decodes() -> None:
    assert slots.decode_header(ENCODED) == header(slot(0), slot(3))
    assert len(ENCODED) == slots.HEADER_SIZE
    slots.check_header(ENCODED, mac_key=MAC)


@given(st.integers(0, len(ENCODED) * 8 - 1))
def test_one_flipped_bit_is_found_and_damages_nothing_else(bit: int) -> None:
    spoilt = bytearray(ENCODED)
    spoilt[bit // 8] ^= 1 << bit % 8
    if bit // 8 < slots.AREA_SIZE:
        with pytest.raises(RustfsfsError):
            slots.decode_header(bytes(spoilt))
        return
    number = (bit // 8 - slots.AREA_SIZE) // slots.SLOT_SIZE
    found = slots.decode_header(bytes(spoilt))
    assert found.slots[number] == DamagedSlot(number)
    rest = [one for one in found.slots if not isinstance(one, DamagedSlot)]
    assert rest == [one for at, one in enumerate(header(slot(0), slot(3)).slots) if at != number]
    assert slots.unlock(found, SlotKind.KEY_FILE, b"s" * 32) == MASTER


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", NotAVolume, id="nothing"),
        pytest.param(b"something else".ljust(9000), NotAVolume, id="something else"),
        pytest.param(ENCODED[:3000], DamagedVolume, id="cut short"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        slots.decode_header(data)


def test_a_newer_format_is_refused() -> None:
    newer = slots.encode_header(replace(header(), format=slots.FORMAT + 1), mac_key=MAC)
    with pytest.raises(NewerFormat, match="newer"):
        slots.decode_header(newer)


def test_parameters_changed_without_the_key_are_found() -> None:
    forged = slots.encode_header(replace(header(slot(0)), copies=2), mac_key=b"guess".ljust(32))
    with pytest.raises(DamagedVolume):
        slots.check_header(forged, mac_key=MAC)


@pytest.mark.parametrize("size", [slots.AREA_SIZE, slots.HEADER_SIZE - 1])
def test_a_header_cut_short_is_damaged(size: int) -> None:
    with pytest.raises(DamagedVolume, match="cut short"):
        slots.decode_header(ENCODED[:size])


def test_a_passphrase_opens_and_a_wrong_one_does_not() -> None:
    made = header(slot(1, SlotKind.PASSPHRASE, b"correct"))
    assert slots.unlock(made, SlotKind.PASSPHRASE, b"correct") == MASTER
    with pytest.raises(WrongKey):
        slots.unlock(made, SlotKind.PASSPHRASE, b"wrong")
    with pytest.raises(WrongKey, match="no key-file slot"):
        slots.unlock(made, SlotKind.KEY_FILE, b"correct".ljust(32))


def test_a_slot_of_another_place_or_volume_does_not_open() -> None:
    moved = header(replace(slot(1), number=2))
    with pytest.raises(WrongKey):
        slots.unlock(moved, SlotKind.KEY_FILE, b"s" * 32)
    with pytest.raises(WrongKey):
        slots.unlock(replace(header(slot(1)), uuid=b"v" * 16), SlotKind.KEY_FILE, b"s" * 32)


def test_a_header_from_elsewhere_cannot_make_us_allocate_without_bound() -> None:
    greedy = replace(slot(1, SlotKind.PASSPHRASE, b"p"), argon2=(3, 1 << 30, 4))
    with pytest.raises(WrongKey):
        slots.unlock(header(greedy), SlotKind.PASSPHRASE, b"p")


@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_a_recovery_key_survives_being_typed(secret: bytes, shout: bool) -> None:
    text = slots.format_recovery_key(secret)
    typed = text.replace("-", " ") if shout else text.lower()
    assert slots.parse_recovery_key(f" {typed}\n") == secret


@given(st.binary(min_size=32, max_size=32), st.data())
def test_a_typing_mistake_in_a_recovery_key_is_found(secret: bytes, data: st.DataObject) -> None:
    letters = list(slots.format_recovery_key(secret))
    at = data.draw(st.sampled_from([at for at, letter in enumerate(letters) if letter != "-"]))
    letters[at] = data.draw(st.sampled_from([other for other in "ABCDEFGHIJ234567" if other != letters[at]]))
    with pytest.raises(WrongKey):
        slots.parse_recovery_key("".join(letters))
