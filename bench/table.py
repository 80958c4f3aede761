# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The table: rows for people, as plain text or by rich, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .measure import Goal, Row, ratio, summary

_GAP = "  "


@dataclass(frozen=True)
class Table:
    """What was measured of the subject, beside the other contenders, in their order."""

    subject: str
    others: Sequence[str]
    rows: Sequence[Row]

    def show(self) -> None:
        """Print it: with rich if stdout is a terminal and rich is installed."""
        if not (sys.stdout.isatty() and self._show_richly()):
            print(self.plain())

    def _show_richly(self) -> bool:
        try:
            from rich.console import Console
            from rich.table import Table as RichTable
            from rich.text import Text
        except ImportError:
            return False
        table = RichTable(show_lines=True)
        for heading in self._headings():
            table.add_column(heading)
        for row in self.rows:
            cells = [Text(cell) for cell in self._cells(row)]
            if row.goals:
                cells[-1].stylize("green" if all(goal.met for goal in row.goals) else "red")
            table.add_row(*cells)
        Console().print(table)
        return True

    def plain(self) -> str:
        grid = [self._headings(), *(self._cells(row) for row in self.rows)]
        cells = [[cell.split("\n") for cell in row] for row in grid]
        widths = [
            max(len(line) for cell in column for line in cell)
            for column in zip(*cells, strict=True)
        ]
        lines = []
        for row_cells in cells:
            for parts in zip_longest(*row_cells, fillvalue=""):
                padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
                lines.append(_GAP.join(padded).rstrip())
            lines.append("")
        return "\n".join(lines)

    def data(self) -> list[dict[str, Any]]:
        """Everything that was measured, for JSON."""
        return [
            {
                "title": row.title,
                "unit": row.unit,
                "samples": {name: list(values) for name, values in row.samples.items()},
                "summary": {name: summary(v)._asdict() for name, v in row.samples.items()},
                "ratio to": {
                    name: ratio(row.samples[self.subject], row.samples[name])
                    for name in self.others
                    if name in row.samples
                },
                "goals": [goal._asdict() for goal in row.goals],
            }
            for row in self.rows
        ]

    def _headings(self) -> list[str]:
        return ["", self.subject, *self.others, "goal"]

    def _cells(self, row: Row) -> list[str]:
        measured = row.samples[self.subject]
        cells = [f"{row.title}\n{row.unit}", _spread(measured)]
        for name in self.others:
            if name in row.samples:
                cells.append(_beside(measured, row.samples[name]))
            else:
                cells.append("")
        cells.append("\n".join(_verdict(goal) for goal in row.goals))
        return cells


def _beside(measured: Sequence[float], base: Sequence[float]) -> str:
    """The base, and the ratio to it, if it isn't the ratio to nothing."""
    return f"{_spread(base)}\nratio {number(ratio(measured, base))}" if all(base) else _spread(base)


def _spread(values: Sequence[float]) -> str:
    median, low, high = map(number, summary(values))
    return median if low == high else f"{median} ({low} to {high})"


def _verdict(goal: Goal) -> str:
    return f"{goal.text}: {number(goal.value)}, {'met' if goal.met else 'NOT MET'}"


def number(value: float) -> str:
    """Three digits, or the whole part if it has more."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.3g}"
