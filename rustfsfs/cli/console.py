"""What people see: progress on a terminal, sizes in words."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[int, int, str], None]


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _text: None
        return
    from rich.console import Console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("working", total=None)

        def report(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total or None, description=text)

        yield report
