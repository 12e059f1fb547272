"""ACL arithmetic, as acl(5) and the kernel have it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.errors import InvalidArgument
from rustfsfs.volume import acl
from rustfsfs.volume.acl import GROUP, GROUP_OBJ, MASK, NO_ID, OTHER, USER, USER_OBJ, Entry

bits = st.integers(0, 7)


@st.composite
def acls(draw: st.DrawFn) -> list[Entry]:
    named = [Entry(USER, draw(bits), uid) for uid in sorted(draw(st.sets(st.integers(0, 9), max_size=3)))]
    groups = [Entry(GROUP, draw(bits), gid) for gid in sorted(draw(st.sets(st.integers(0, 9), max_size=3)))]
    wanted: bool = draw(st.booleans())
    mask = [Entry(MASK, draw(bits), NO_ID)] if named or groups or wanted else []
    ends = Entry(USER_OBJ, draw(bits), NO_ID), Entry(GROUP_OBJ, draw(bits), NO_ID), Entry(OTHER, draw(bits), NO_ID)
    return [ends[0], *named, ends[1], *groups, *mask, ends[2]]


@given(acls())
def test_a_valid_acl_survives_its_encoding(entries: list[Entry]) -> None:
    assert acl.checked(acl.encode(entries)) == entries


@given(acls(), st.integers(0, 0o777))
def test_after_chmod_the_mode_is_what_was_asked_for(entries: list[Entry], mode: int) -> None:
    changed = acl.after_chmod(entries, mode)
    assert acl.mode_of(changed) == mode
    named = [entry for entry in entries if entry.tag in (USER, GROUP)]
    assert [entry for entry in changed if entry.tag in (USER, GROUP)] == named


@given(acls(), st.integers(0, 0o7777))
def test_what_is_inherited_never_exceeds_the_mode_or_the_default(entries: list[Entry], mode: int) -> None:
    permissions, access = acl.inherit(entries, mode)
    assert permissions & 0o777 & ~mode == 0
    assert permissions & 0o777 & ~acl.mode_of(entries) == 0
    assert permissions & 0o7000 == mode & 0o7000
    assert (access is None) == acl.is_only_mode(entries)
    if access is not None:
        assert acl.mode_of(access) == permissions & 0o777


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x01\0\0\0", id="another version"),
        pytest.param(b"\x02\0\0\0\x01", id="cut within an entry"),
        pytest.param(acl.encode([Entry(USER_OBJ, 7, NO_ID)]), id="no group, no others"),
        pytest.param(
            acl.encode(
                [Entry(USER_OBJ, 7, NO_ID), Entry(USER, 7, 1), Entry(GROUP_OBJ, 7, NO_ID), Entry(OTHER, 7, NO_ID)]
            ),
            id="somebody named, no mask",
        ),
        pytest.param(
            acl.encode([Entry(USER_OBJ, 9, NO_ID), Entry(GROUP_OBJ, 7, NO_ID), Entry(OTHER, 7, NO_ID)]),
            id="a permission that is none",
        ),
    ],
)
def test_what_is_no_acl_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        acl.checked(data)


def test_an_acl_without_entries_removes() -> None:
    assert acl.checked(acl.encode([])) == []
