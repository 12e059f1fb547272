"""The table and the JSON."""

import json

import pytest

from rustfsfs.bench.figures import Better, Metric
from rustfsfs.bench.report import NOTHING, as_json, format_value, markdown, noise_sentence, table

SPEED = Metric("speed", "a speed", "MB/s")
TIME = Metric("time", "a time", "ms", Better.LOWER)
UNKNOWN = Metric("unknown", "never measured", "MB/s")
RESULTS = {
    "null": {"speed": [100.0, 110.0, 90.0]},
    "rustfsfs": {"speed": [50.0, 55.0, 45.0], "time": [0.25]},
}


@pytest.mark.parametrize(
    ("value", "want"),
    [
        pytest.param(1234.5, "1 230", id="thousands"),
        pytest.param(0.0123456, "0.0123", id="small"),
        pytest.param(99.95, "100.0", id="rounded up"),
        pytest.param(7.0, "7.00", id="one digit"),
        pytest.param(0.0, "0", id="nothing"),
        pytest.param(456_789.0, "457 000", id="three digits count"),
    ],
)
def test_format_value(value: float, want: str) -> None:
    assert format_value(value) == want


def test_a_row_has_medians_ratios_and_the_worst_spread() -> None:
    found = table([SPEED, TIME, UNKNOWN], RESULTS, [("rustfsfs", "null")])
    assert found.header == ("", "unit", "null", "rustfsfs", "rustfsfs/null", "±")
    assert found.rows == (
        ("a speed", "MB/s ↑", "100", "50.0", "0.50", "20%"),
        ("a time", "ms ↓", NOTHING, "0.250", NOTHING, NOTHING),
    )


def test_markdown_has_a_line_a_row() -> None:
    found = table([SPEED], RESULTS, ())
    assert markdown(found) == (
        "|  | unit | null | rustfsfs | ± |\n| --- | ---: | ---: | ---: | ---: |\n"
        "| a speed | MB/s ↑ | 100 | 50.0 | 20% |\n"
    )


def test_noise_is_said_and_its_absence_too() -> None:
    assert "20% (median)" in noise_sentence(RESULTS, 3)
    assert "--repeat" in noise_sentence({"null": {"speed": [1.0]}}, 1)


def test_json_keeps_every_value() -> None:
    found = as_json([SPEED, TIME], RESULTS, machine={"kernel": "6"}, systems={"null": "1"}, repeats=3)
    found = json.loads(json.dumps(found))
    speed = found["results"]["rustfsfs"]["speed"]
    assert speed == {"values": [50, 55, 45], "median": 50, "spread": 0.2, "ratios": {"null": 0.5}}
    assert found["results"]["rustfsfs"]["time"]["ratios"] == {}
    assert {metric["key"]: metric["better"] for metric in found["metrics"]} == {"speed": "higher", "time": "lower"}
