"""The chart as PNG, by matplotlib, which only the extra `chart` installs."""

from pathlib import Path

from rustfsfs.bench.chart import COLOURS, Chart
from rustfsfs.errors import UsageError

ROW_INCHES, WIDTH_INCHES, DPI = 0.22, 10.0, 120


def write_png(chart: Chart, path: Path) -> None:
    """Raises UsageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise UsageError("a chart as PNG needs matplotlib (pip install 'rustfsfs[chart]'); name it .svg") from exc
    lines = [(panel, line) for panel in chart.panels for line in panel.lines]
    bar_count = sum(len(line.bars) for _panel, line in lines)
    figure = Figure(figsize=(WIDTH_INCHES, 1 + ROW_INCHES * (bar_count + len(lines))), layout="constrained")
    axes = figure.subplots()
    at, ticks, labels = 0.0, [], []
    for panel, line in lines:
        ticks.append(at + (len(line.bars) - 1) / 2)
        labels.append(f"{line.label} ({panel.title})")
        for bar in line.bars:
            axes.barh(at, bar.end - bar.start, left=bar.start, color=COLOURS[bar.series % len(COLOURS)])
            axes.text(1.01, at, bar.text, va="center", fontsize=7)
            at += 1
        at += 1
    for mark in {panel.mark for panel in chart.panels} - {None}:
        axes.axvline(mark, color="black", linewidth=0.8)
    axes.set(yticks=ticks, yticklabels=labels, xlim=(0, 1), xticks=[], title=chart.title)
    axes.invert_yaxis()
    for number, name in enumerate(chart.series):
        axes.barh(0, 0, color=COLOURS[number % len(COLOURS)], label=name)
    axes.legend(loc="lower right", fontsize=7)
    figure.savefig(path, dpi=DPI, format="png")
