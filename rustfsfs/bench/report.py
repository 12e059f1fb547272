"""PURE: the table, and the JSON, of what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rustfsfs.bench.figures import Better, Metric, Repeats, median, median_ratio, noise, spread

NOTHING = "-"  # not measured here
NOTES = (
    "Figures are medians of the repeats. A ratio says how many times as good as the other system: above 1 is better, "
    "whether the figure gets better upwards or downwards; it is the median of the ratios of each repeat. "
    "± is the largest distance between two repeats of any system, as a share of the median."
)


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` are as long as `header`; the first column is text, the others are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def format_value(value: float) -> str:
    """Three digits that count: `format_value(1234.5) == "1 230"`, `format_value(0.01234) == "0.0123"`."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}".replace(",", " ")


def table(metrics: Sequence[Metric], results: Mapping[str, Repeats], comparisons: Sequence[tuple[str, str]]) -> Table:
    """One row a metric that any system has. `comparisons`: (system, base) of each column of ratios."""
    header = ("", "unit", *results, *(f"{system}/{base}" for system, base in comparisons), "±")
    rows = [
        (
            metric.title,
            f"{metric.unit} {'↑' if metric.better is Better.HIGHER else '↓'}",
            *(_value(repeats.get(metric.key)) for repeats in results.values()),
            *(_ratio(metric, results[system], results[base]) for system, base in comparisons),
            _spread([repeats[metric.key] for repeats in results.values() if metric.key in repeats]),
        )
        for metric in metrics
        if any(metric.key in repeats for repeats in results.values())
    ]
    return Table(header, tuple(rows))


def _value(values: Sequence[float] | None) -> str:
    return format_value(median(values)) if values else NOTHING


def _ratio(metric: Metric, ours: Repeats, base: Repeats) -> str:
    found = median_ratio(metric, ours.get(metric.key, []), base.get(metric.key, []))
    return NOTHING if found is None else f"{found:.2f}"


def _spread(of_systems: Sequence[Sequence[float]]) -> str:
    found = [spread(values) for values in of_systems if len(values) > 1]
    return f"{max(found):.0%}" if found else NOTHING


def markdown(found: Table) -> str:
    """For DESIGN.md and the like."""
    lines = [found.header, ("---", *("---:" for _ in found.header[1:])), *found.rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def noise_sentence(results: Mapping[str, Repeats], repeats: int) -> str:
    share = noise(results)
    if share is None:
        return "Nothing was repeated, so nothing says how noisy this machine was: --repeat 3 does."
    return f"{repeats} repeats, in turn; between the lowest and the highest of a figure lay {share:.0%} (median)."


def as_json(
    metrics: Sequence[Metric],
    results: Mapping[str, Repeats],
    *,
    machine: Mapping[str, str],
    systems: Mapping[str, str],
    repeats: int,
) -> dict[str, Any]:
    """Everything: each repeat's value, medians, spreads, and ratios to every other system (version 1)."""
    return {
        "version": 1,
        "machine": dict(machine),
        "systems": dict(systems),
        "repeats": repeats,
        "noise": noise(results),
        "metrics": [
            {"key": each.key, "title": each.title, "unit": each.unit, "better": each.better.value} for each in metrics
        ],
        "results": {
            system: {
                metric.key: {
                    "values": repeats_of[metric.key],
                    "median": median(repeats_of[metric.key]),
                    "spread": spread(repeats_of[metric.key]),
                    "ratios": {
                        base: median_ratio(metric, repeats_of[metric.key], others[metric.key])
                        for base, others in results.items()
                        if base != system and metric.key in others
                    },
                }
                for metric in metrics
                if metric.key in repeats_of
            }
            for system, repeats_of in results.items()
        },
    }
