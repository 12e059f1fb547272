"""PURE: the chart, as SVG written by hand; the same panels are drawn as PNG by chart_png.py."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rustfsfs.bench.figures import Metric, Repeats, median, median_ratio
from rustfsfs.bench.report import format_value

RATIO_MAX = 8.0  # the axis of ratios goes from 1/8 to 8; what lies beyond ends there, and its number says so
COLOURS = ("#1f6feb", "#d29922", "#8250df", "#57606a", "#1a7f37")
WIDTH, LABEL_WIDTH, BAR_WIDTH = 960, 330, 520  # pixels, as all below
BAR_HEIGHT, ROW_GAP, PANEL_GAP, TITLE_HEIGHT, MARGIN = 11, 7, 16, 24, 16


@dataclass(frozen=True, slots=True)
class Bar:
    """From `start` to `end`, shares of the axis, 0 to 1."""

    series: int
    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on one axis. `mark`: where on it something is drawn across, 0 to 1."""

    title: str
    lines: tuple[Line, ...]
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    series: tuple[str, ...]
    panels: tuple[Panel, ...]


def compared(
    groups: Mapping[str, Sequence[Metric]], results: Mapping[str, Repeats], *, base: str, systems: Sequence[str]
) -> Chart:
    """Each system's ratio to `base`, on an axis of powers of two, one panel a group."""
    panels = []
    for name, metrics in groups.items():
        lines = []
        for metric in metrics:
            bars = [
                Bar(number, 0.5, place_of(found), f"{found:.2f}")
                for number, system in enumerate(systems)
                if (found := _ratio_to(metric, results, system, base)) is not None
            ]
            if bars:
                lines.append(Line(metric.title, tuple(bars)))
        if lines:
            panels.append(Panel(name, tuple(lines), mark=0.5))
    title = f"Times as good as the {base} file system, by powers of two; right of the line is better"
    return Chart(title, tuple(systems), tuple(panels))


def place_of(ratio: float) -> float:
    """On the axis of powers of two: 1 lies at 0.5, 8 and more at 1, 1/8 and less at 0."""
    reach = math.log2(RATIO_MAX)
    return (max(-reach, min(reach, math.log2(ratio))) + reach) / (2 * reach) if ratio > 0 else 0.0


def _ratio_to(metric: Metric, results: Mapping[str, Repeats], system: str, base: str) -> float | None:
    return median_ratio(metric, results[system].get(metric.key, []), results[base].get(metric.key, []))


def alone(metrics: Sequence[Metric], repeats: Repeats, *, system: str) -> Chart:
    """One system's figures, one panel a unit, each on an axis from 0 to the greatest of it."""
    by_unit: dict[str, list[tuple[str, float]]] = {}
    for metric in metrics:
        if metric.key in repeats:
            by_unit.setdefault(metric.unit, []).append((metric.title, median(repeats[metric.key])))
    panels = []
    for unit, figures in by_unit.items():
        most = max(value for _title, value in figures) or 1.0
        lines = (Line(title, (Bar(0, 0.0, value / most, format_value(value)),)) for title, value in figures)
        panels.append(Panel(unit, tuple(lines)))
    return Chart(system, (system,), tuple(panels))


def svg(chart: Chart) -> str:
    """A whole SVG 1.1 document."""
    body, top = [_text(MARGIN, 2 * MARGIN, chart.title, size=15, weight="bold")], 3.0 * MARGIN
    if len(chart.series) > 1:
        top += TITLE_HEIGHT
        body += _legend(chart.series, top - MARGIN)
    for panel in chart.panels:
        height = TITLE_HEIGHT + sum(_height(line) for line in panel.lines)
        body += _panel(panel, top, height)
        top += height + PANEL_GAP
    size = f'width="{WIDTH}" height="{top:.0f}" viewBox="0 0 {WIDTH} {top:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *body, "</svg>\n"])


def _height(line: Line) -> int:
    return BAR_HEIGHT * len(line.bars) + ROW_GAP


def _legend(series: Sequence[str], top: float) -> list[str]:
    found = []
    for number, name in enumerate(series):
        x = LABEL_WIDTH + 130 * number
        found += [_rect(x, top - BAR_HEIGHT, BAR_HEIGHT, number), _text(x + BAR_HEIGHT + 5, top, name)]
    return found


def _panel(panel: Panel, top: float, height: float) -> list[str]:
    y = top + TITLE_HEIGHT
    found = [_text(MARGIN, top + 14, panel.title, size=13, weight="bold")]
    for line in panel.lines:
        found.append(_text(MARGIN, y + BAR_HEIGHT * (len(line.bars) + 1) / 2 - 2, line.label))
        for number, bar in enumerate(line.bars):
            left, right = (LABEL_WIDTH + BAR_WIDTH * share for share in sorted((bar.start, bar.end)))
            found.append(_rect(left, y + number * BAR_HEIGHT, max(1.0, right - left), bar.series))
            found.append(_text(LABEL_WIDTH + BAR_WIDTH + 12, y + number * BAR_HEIGHT + 9, bar.text, size=10))
        y += _height(line)
    if panel.mark is not None:
        x = LABEL_WIDTH + BAR_WIDTH * panel.mark
        found.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{top + height:.1f}" stroke="#1f2328"/>')
    return found


def _rect(x: float, y: float, width: float, series: int) -> str:
    colour = COLOURS[series % len(COLOURS)]
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR_HEIGHT - 2}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, weight: str = "normal") -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="#1f2328"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
