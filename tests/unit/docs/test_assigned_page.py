# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/assigned.md: its tables are the code's, and so is its picture of a BAR."""

from __future__ import annotations

import re
from pathlib import Path

from pyvmm.pci import areas
from pyvmm.pci.config_table import CONVENTIONAL, EXTENDED, HEADER
from pyvmm.vfio import Interval
from tools.assigned_reference import render

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "assigned.md").read_text()


def test_the_page_is_current() -> None:
    assert render() == PAGE, "run: python -m tools.assigned_reference > docs/assigned.md"


def test_every_row_says_why() -> None:
    for seen in (*CONVENTIONAL.values(), *EXTENDED.values()):
        assert seen.why or seen.rows
    rows = [*HEADER, *(row for s in (*CONVENTIONAL.values(), *EXTENDED.values()) for row in s.rows)]
    assert [row.what for row in rows if not row.why] == []


def test_the_bar_of_the_picture() -> None:
    """65 vectors, as QEMU's NVMe controller has them."""
    table, pba = Interval.sized(0x2000, 65 * 16), Interval.sized(0x3000, 2 * 8)
    mapped, trapped = areas.split(0x4000, [Interval(0, 0x4000)], [table, pba])
    assert (mapped, trapped) == ((Interval(0, 0x2000),), (Interval(0x2000, 0x4000),))
    drawn = {int(number, 16) for number in re.findall(r'\["(0x[0-9a-f]{4}) ', PAGE)}
    assert drawn == {0, 0x1000, *table, *pba}
