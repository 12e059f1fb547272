"""Bytes a second of the last minute."""

import pytest

from rustfsfs.volume.throughput import Throughput


def passed(*sizes: tuple[float, int]) -> Throughput:
    throughput = Throughput()
    for at_s, size_bytes in sizes:
        throughput.add(size_bytes, now_s=at_s)
    return throughput


@pytest.mark.parametrize(
    ("throughput", "now_s", "want"),
    [
        pytest.param(passed(), 7.0, 0.0, id="nothing"),
        pytest.param(passed((1000.0, 600)), 1001.0, 120.0, id="just now, of 5 s at the least"),
        pytest.param(passed((1000.0, 600)), 1030.0, 20.0, id="since it began"),
        pytest.param(passed((1000.0, 600)), 1060.0, 0.0, id="longer ago than a minute"),
        pytest.param(passed(*((float(at), 10) for at in range(1000, 1300))), 1299.9, 10.0, id="steadily"),
        pytest.param(passed((1000.0, 9), (1500.0, 500)), 1510.0, 50.0, id="after a pause"),
    ],
)
def test_bytes_a_second(throughput: Throughput, now_s: float, want: float) -> None:
    assert throughput.bytes_s(now_s=now_s) == pytest.approx(want, rel=0.02)
