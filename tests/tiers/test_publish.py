"""When the metadata goes to the bucket: with the interval, and soon once packs went cold."""

import pytest

from rustfsfs.tiers.publish import SOON_S, pause_s


@pytest.mark.parametrize(
    ("interval_s", "went_cold", "took_s", "want_s"),
    [
        pytest.param(3600, False, 0.1, 3600, id="nothing went cold"),
        pytest.param(3600, False, 100, 3600, id="a large database of which nothing went cold"),
        pytest.param(3600, True, 0, SOON_S, id="how long it takes is not known"),
        pytest.param(3600, True, 3, SOON_S, id="a small database"),
        pytest.param(3600, True, 30, 600, id="a large one"),
        pytest.param(3600, True, 1000, 3600, id="one that takes very long"),
        pytest.param(10, True, 1, 10, id="never later than the settings say"),
    ],
)
def test_pause(interval_s: float, went_cold: bool, took_s: float, want_s: float) -> None:
    assert pause_s(interval_s=interval_s, went_cold=went_cold, took_s=took_s) == want_s
