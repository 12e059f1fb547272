"""Every parser of stored bytes, fed by somebody who means ill: only our own error, little memory, little time.

Bytes are noise, spoilt copies of good ones, and good ones with their checksums made right again (those are not keyed).
"""

import tempfile
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rustfsfs import ops
from rustfsfs.config import parse_config
from rustfsfs.content import codec, slots
from rustfsfs.content.chunkid import chunk_id
from rustfsfs.content.keys import checksum, derive_keys
from rustfsfs.errors import RustfsfsError
from rustfsfs.journal import layout as journal
from rustfsfs.meta.pages import Sums
from rustfsfs.service import protocol
from rustfsfs.store import headers
from rustfsfs.store import layout as packs
from rustfsfs.volume import acl, snapshots
from rustfsfs.volume.pagesums import PageSums
from tests.content.test_slots import ENCODED
from tests.crash.disk import CrashFiles
from tests.journal.test_layout import HEADER, KEY, NAME, sealed
from tests.journal.test_layout import UUID as JOURNAL_UUID

UUID = b"u" * 16
KEYS = derive_keys(b"m" * 32, UUID)
PLAIN = b"plain " * 500
CHUNK = chunk_id(PLAIN, KEYS.chunk_id)
FRAME = codec.seal_frame(PLAIN, chunk_id=CHUNK, keys=KEYS, uuid=UUID, salt=bytes(24), level=3)
ENTRIES = [packs.DirectoryEntry(96, len(FRAME), bytes(CHUNK), len(PLAIN))]
DIRECTORY = packs.encode_directory(ENTRIES, pack=7, offset=500, key=KEYS.directory, uuid=UUID, salt=bytes(24))
CIPHER = journal.Cipher(KEY, JOURNAL_UUID, NAME)
MEMORY_BYTES_MAX, SECONDS_MAX = 4 << 20, 2.0


def read_record(data: bytes) -> object:
    prefix = journal.parse_prefix(data)
    if prefix is None:
        return None
    end = journal.PREFIX.size + prefix.op_size + 16
    return journal.open_op(CIPHER, 5000, data[: journal.PREFIX.size], data[journal.PREFIX.size : end])


def sums_of(known: dict[int, bytes]) -> bytes:
    sums = Sums(bytes(32))
    for number, one in known.items():
        sums.put(number, one)
    return sums.encode(0)


def read_disk_header(data: bytes) -> object:
    files = CrashFiles()
    files.mkdir("/d")
    files.pwrite(files.create("/d/rustfsfs-disk"), data, 0)
    return headers.read_disk_header(files, "/d", keys=KEYS, uuid=UUID)


def read_directory(data: bytes) -> object:
    offset, length = packs.decode_trailer(data[-packs.TRAILER_SIZE :])
    return packs.decode_directory(data[:length], pack=7, offset=offset, key=KEYS.directory, uuid=UUID)


def read_snapshot(data: bytes) -> object:
    files = CrashFiles()
    files.mkdir("/d")
    files.pwrite(files.create("/d/s.db"), data, 0)
    with tempfile.TemporaryDirectory() as folder:
        snapshots.copy_out(files, "/d/s.db", f"{folder}/copy", KEYS)
    return None


def read_wal(data: bytes) -> object:
    files = CrashFiles()
    files.mkdir("/v")
    files.pwrite(files.create("/v/metadata.db-wal"), data, 0)
    return PageSums(files, "/v/metadata.db", bytes(32)).in_wal()


PAGE_SUMS = sums_of({1: b"12345678", 2: b"87654321"})

Parser = Callable[[bytes], object]
PARSERS: dict[str, tuple[Parser, bytes, tuple[type[Exception], ...]]] = {
    "volume header": (slots.decode_header, ENCODED, ()),
    "segment header": (
        lambda data: journal.decode_header(data, KEY, JOURNAL_UUID, NAME),
        journal.encode_header(KEY, JOURNAL_UUID, NAME, HEADER, bytes(12)),
        (),
    ),
    "record": (read_record, sealed(b"op" * 50, b"data" * 100), ()),
    "op": (ops.decode, ops.encode(ops.Truncate(inode=5, size_bytes=7, now_ns=9)), (ValueError,)),
    "frame header": (lambda data: codec.open_frame_header(data, keys=KEYS, uuid=UUID), FRAME, ()),
    "frame": (
        lambda data: codec.open_frame(data, chunk_id=CHUNK, plain_bytes=len(PLAIN), keys=KEYS, uuid=UUID),
        FRAME,
        (),
    ),
    "pack header": (packs.decode_header, packs.encode_header(7, volume_uuid=UUID, disk_uuid=UUID), ()),
    "pack directory": (read_directory, DIRECTORY, ()),
    "disk header": (read_disk_header, headers.MAGIC + bytes(100), ()),
    "page sums": (lambda data: Sums(bytes(32)).decode(data), PAGE_SUMS, ()),
    "snapshot": (read_snapshot, bytes(4096) + snapshots.TRAILER_MAGIC + bytes(32), ()),
    "WAL": (read_wal, bytes(16) + b"salts678" + bytes(8) + (9).to_bytes(4) + bytes(4) + b"salts678" + bytes(4200), ()),
    "ACL": (acl.checked, acl.encode([acl.Entry(1, 7, acl.NO_ID)]), ()),
    "settings": (
        lambda data: parse_config(data.decode(errors="replace")),
        b'[journal]\nlimit = "1GiB"\n[cache]\nram = "64MiB"\n',
        (),
    ),
    "request": (protocol.parse_request, b'{"v":1,"call":"status","args":{}}', ()),
    "recovery key": (
        lambda data: slots.parse_recovery_key(data.decode(errors="replace")),
        slots.format_recovery_key(bytes(32)).encode(),
        (),
    ),
}


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Some bytes changed, some cut off or put in, or noise from the beginning."""
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(st.binary(max_size=400))
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.integers(0, 3))
        if kind == 0 and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == 1:
            data[at:at] = draw(st.binary(max_size=20))
        elif kind == 2:
            del data[at : at + draw(st.integers(1, 50))]
        else:
            data[at : at + 8] = draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f" * 2, b"\x80" * 8]))
    return bytes(data)


def is_taken_calmly(parse: Parser, data: bytes, allowed: tuple[type[Exception], ...]) -> None:
    started_s = time.monotonic()
    tracemalloc.start()
    try:
        parse(data)
    except Exception as exc:
        if not isinstance(exc, (RustfsfsError, *allowed)):
            raise
    finally:
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY_BYTES_MAX + 20 * len(data), peak
    assert time.monotonic() - started_s < SECONDS_MAX


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoilt_bytes_raise_our_own_error_at_most(name: str, data: st.DataObject) -> None:
    parse, good, allowed = PARSERS[name]
    is_taken_calmly(parse, data.draw(spoilt(good)), allowed)


def with_area_checksum(data: bytes) -> bytes:
    """The parameters of a volume header, their checksum right again."""
    body = data[: slots.AREA_SIZE - slots.CHECKSUM_SIZE].ljust(slots.AREA_SIZE - slots.CHECKSUM_SIZE, b"\0")
    return body + checksum(body) + data[slots.AREA_SIZE :].ljust(slots.HEADER_SIZE - slots.AREA_SIZE, b"\0")


def with_slot_checksums(data: bytes) -> bytes:
    whole = bytearray(data[: slots.HEADER_SIZE].ljust(slots.HEADER_SIZE, b"\0"))
    for number in range(slots.SLOT_COUNT):
        at = slots.AREA_SIZE + number * slots.SLOT_SIZE
        end = at + slots.SLOT_SIZE - slots.CHECKSUM_SIZE
        whole[end : end + slots.CHECKSUM_SIZE] = checksum(bytes(whole[at:end]))
    return bytes(whole)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_header_whose_checksums_were_made_right_again_is_taken_calmly(data: st.DataObject) -> None:
    head = data.draw(spoilt(ENCODED[:200])) + ENCODED[200 : slots.AREA_SIZE]
    tail = ENCODED[slots.AREA_SIZE :]
    tail = data.draw(spoilt(tail[:300])) + tail[300:]

    def unlock(given_bytes: bytes) -> object:
        header = slots.decode_header(given_bytes)
        return slots.unlock(header, slots.SlotKind.KEY_FILE, b"s" * 32)

    is_taken_calmly(unlock, with_slot_checksums(with_area_checksum(head)[: slots.AREA_SIZE] + tail), ())


@given(offset=st.integers(0, 2**64 - 1), length=st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_trailer_cannot_make_us_read_without_end(offset: int, length: int) -> None:
    body = packs._TRAILER.pack(packs.TRAILER_MAGIC, offset, length).ljust(packs.TRAILER_SIZE - 16, b"\0")
    try:
        found = packs.decode_trailer(body + checksum(body))
    except RustfsfsError:
        return
    assert found[1] <= packs.DIRECTORY_SIZE_MAX
