# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Tables on stdout: with rich on a terminal, if it is installed; else plain text."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT = 14


def show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells; the last column may be long."""
    if not (sys.stdout.isatty() and _richly(headings, rows)):
        _plainly(headings, rows)


def _richly(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """False if rich isn't there."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in zip(headings, *rows, strict=True):
        # Addresses and the like stay whole; what is prose gives way.
        longest = max(map(len, column))
        table.add_column(column[0], no_wrap=longest <= _SHORT, min_width=min(longest, _SHORT))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True


def _plainly(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
