"""The chart: where bars lie, and that it is a document a browser takes."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bench.chart import BAR_WIDTH, LABEL_WIDTH, RATIO_MAX, WIDTH, alone, compared, place_of, svg
from rustfsfs.bench.chart_png import write_png
from rustfsfs.bench.figures import Metric
from rustfsfs.errors import UsageError

SPEED = Metric("speed", "files < 4 KiB & more", "MB/s")
COUNT = Metric("count", "a count", "files/s")
RESULTS = {"null": {"speed": [10.0]}, "rustfsfs": {"speed": [20.0], "count": [5.0]}, "bindfs": {"speed": [0.1]}}


@pytest.mark.parametrize(
    ("ratio", "want"),
    [
        pytest.param(1.0, 0.5, id="as good"),
        pytest.param(RATIO_MAX, 1.0, id="the end"),
        pytest.param(1000.0, 1.0, id="beyond the end"),
        pytest.param(1 / RATIO_MAX, 0.0, id="the beginning"),
        pytest.param(0.0, 0.0, id="nothing"),
        pytest.param(2.0, 0.5 + 1 / 6, id="one step of three"),
    ],
)
def test_where_a_ratio_lies(ratio: float, want: float) -> None:
    assert place_of(ratio) == pytest.approx(want)


def test_comparing_leaves_out_what_cannot_be_compared() -> None:
    found = compared({"group": [SPEED, COUNT], "none": [COUNT]}, RESULTS, base="null", systems=["rustfsfs", "bindfs"])
    assert [panel.title for panel in found.panels] == ["group"]
    (line,) = found.panels[0].lines
    assert [bar.text for bar in line.bars] == ["2.00", "0.01"]


def test_alone_has_a_panel_a_unit() -> None:
    found = alone([SPEED, COUNT], RESULTS["rustfsfs"], system="here")
    assert [panel.title for panel in found.panels] == ["MB/s", "files/s"]
    assert all(line.bars[0].end == 1 for panel in found.panels for line in panel.lines)


@given(values=st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=4))
def test_svg_is_well_formed_and_no_bar_leaves_its_axis(values: list[float]) -> None:
    metrics = [Metric(str(number), f"<&{number}", "MB/s") for number in range(len(values))]
    ours = {str(number): [value] for number, value in enumerate(values)}
    bases = {str(number): [1.0] for number in range(len(values))}
    for drawn in (
        alone(metrics, ours, system="here"),
        compared({"group": metrics}, {"null": bases, "ours": ours}, base="null", systems=["ours", "null"]),
    ):
        root = ElementTree.fromstring(svg(drawn))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        bars = [element for element in root.iter("{http://www.w3.org/2000/svg}rect") if "x" in element.attrib]
        assert all(float(bar.attrib["x"]) >= LABEL_WIDTH - 0.1 for bar in bars)
        ends = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in bars]
        assert all(end <= LABEL_WIDTH + BAR_WIDTH + 1.1 <= WIDTH for end in ends)


def test_png_is_drawn_or_says_what_it_needs(tmp_path: Path) -> None:
    path, drawn = tmp_path / "chart.png", alone([SPEED], RESULTS["null"], system="here")
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(UsageError, match="matplotlib"):
            write_png(drawn, path)
    else:
        write_png(drawn, path)
        assert path.read_bytes().startswith(b"\x89PNG")
