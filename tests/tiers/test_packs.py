"""What the policies are told of a pack."""

import pytest

from rustfsfs.tiers.packs import since_s


@pytest.mark.parametrize(
    ("noted_s", "want_s"),
    [
        pytest.param(None, 1000.0, id="nothing was noted"),
        pytest.param(0, 0, id="long ago"),
        pytest.param(1000, 1000, id="now"),
        pytest.param(1001, 1000.0, id="by a clock that went a little fast"),
        pytest.param(9e9, 1000.0, id="by a clock that was far ahead"),
    ],
)
def test_since_s(noted_s: float | None, want_s: float) -> None:
    assert since_s(noted_s, now_s=1000.0) == want_s
