# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Pages of Markdown with tables that are made from the code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def fill(page: Path, tables: Mapping[str, str]) -> str:
    """The page's text with a table for each `<!-- table: NAME -->`."""
    return re.sub(r"<!-- table: (\w+) -->", lambda match: tables[match[1]], page.read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
