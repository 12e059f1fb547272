import pytest

from tests.oss_server.errors import OssError
from tests.oss_server.ranges import requested_range

WHOLE, REFUSED = None, "InvalidRange"


@pytest.mark.parametrize(
    ("header", "by_default", "standard"),
    [
        pytest.param("", WHOLE, WHOLE, id="none"),
        pytest.param("bytes=0-0", (0, 1), (0, 1), id="the first byte"),
        pytest.param("bytes=3-", (3, 7), (3, 7), id="from an offset"),
        pytest.param("bytes=-3", (7, 3), (7, 3), id="the last bytes"),
        pytest.param("bytes=9-9", (9, 1), (9, 1), id="the last byte"),
        pytest.param("bytes=5-10", WHOLE, (5, 5), id="ends behind the end"),
        pytest.param("bytes=10-11", WHOLE, REFUSED, id="begins behind the end"),
        pytest.param("bytes=10-", WHOLE, REFUSED, id="begins at the end"),
        pytest.param("bytes=-11", WHOLE, (0, 10), id="more last bytes than there are"),
        pytest.param("bytes=-0", WHOLE, REFUSED, id="no last bytes"),
        pytest.param("bytes=5-4", WHOLE, WHOLE, id="the wrong way round"),
        pytest.param("lines=1-2", WHOLE, WHOLE, id="no range of bytes"),
    ],
)
def test_both_behaviours(header: str, by_default: object, standard: object) -> None:
    """Of an object of 10 bytes."""
    assert requested_range(header, 10, standard=False) == by_default
    if standard == REFUSED:
        with pytest.raises(OssError, match=REFUSED):
            requested_range(header, 10, standard=True)
    else:
        assert requested_range(header, 10, standard=True) == standard
