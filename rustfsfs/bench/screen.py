"""What people see, and the files they asked for."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rustfsfs.bench.chart import Chart, svg
from rustfsfs.bench.chart_png import write_png
from rustfsfs.bench.report import Table

PLAIN_WIDTH = 200  # columns where there is no terminal


def show(table: Table, sentences: list[str]) -> None:
    """The table and what is to be said of it, on the standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(table.header):
        shown.add_column(name, justify="right" if number else "left", no_wrap=number > 0)
    for row in table.rows:
        shown.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False)
    console.print(shown)
    for sentence in sentences:
        console.print(sentence)


def describe(machine: Mapping[str, str]) -> str:
    """One line."""
    return "; ".join(f"{name} {value}" for name, value in machine.items())


def note(text: str) -> None:
    """What is done now: on a terminal one line that changes, elsewhere a line each."""
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        print(f"\r{text[: width - 1]:<{width - 1}}\r", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def write_json(found: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(found, indent=1) + "\n")


def write_chart(chart: Chart, path: Path) -> None:
    """SVG, or PNG if the name ends so. Raises UsageError (no matplotlib)."""
    if path.suffix == ".png":
        write_png(chart, path)
    else:
        path.write_text(svg(chart))
