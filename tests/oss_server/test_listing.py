"""Pages of names against the plain definition of a list."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from tests.oss_server.listing import page_of

names = st.lists(st.text(alphabet="ab/", min_size=1, max_size=5), unique=True)


def whole_list(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    found: dict[str, None] = {}
    for key in sorted(key for key in keys if key.startswith(prefix)):
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        found[prefix + head + cut if cut else key] = None
    return list(found)


@given(
    keys=names, prefix=st.sampled_from(["", "a", "a/", "b//"]), delimiter=st.sampled_from(["", "/"]), count=st.data()
)
def test_the_pages_are_the_list(keys: list[str], prefix: str, delimiter: str, count: st.DataObject) -> None:
    ordered, marker, got = sorted(keys), "", []
    count_max = count.draw(st.integers(1, 4))
    while True:
        page = page_of(
            lambda first: iter(ordered[bisect_left(ordered, first) :]),
            prefix=prefix,
            marker=marker,
            delimiter=delimiter,
            count_max=count_max,
        )
        entries = sorted(page.keys + page.prefixes)
        assert len(entries) <= count_max
        got += entries
        if not page.next_marker:
            break
        assert len(entries) == count_max
        marker = page.next_marker
    assert got == whole_list(keys, prefix, delimiter)
