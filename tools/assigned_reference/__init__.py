# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/assigned.md: the text of page.md, with tables made from pci/config_table.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pyvmm.pci import config_table as tables
from pyvmm.pci.config_table import Seen
from pyvmm.pci.config_view import Row
from pyvmm.uapi.pci_regs import PCI_CAP_ID_EXP
from pyvmm.vfio.pci.capability_names import CAPABILITY_NAMES, EXTENDED_CAPABILITY_NAMES
from tools.markdown import fill, table

PAGE = Path(__file__).with_name("page.md")

_PLACES = (
    ("anywhere", (tables.EXPRESS_VERSION, *tables.EXPRESS, *tables.NO_FLR, *tables.EXPRESS_2)),
    ("on bus 0", (*tables.ON_ROOT_BUS, *tables.ON_ROOT_BUS_2)),
    ("behind a port", (*tables.BEHIND_PORT, *tables.BEHIND_PORT_2)),
    ("behind a port, integrated on the host", tables.INTEGRATED_BEHIND_PORT),
)

Line = tuple[str, ...]


def render() -> str:
    """The whole page."""
    conventional = (tables.CONVENTIONAL, CAPABILITY_NAMES, 2)
    extended = (tables.EXTENDED, EXTENDED_CAPABILITY_NAMES, 4)
    express = [
        (place, *cells) for place, rows in _PLACES for cells in (_register(row) for row in rows)
    ]
    return fill(
        PAGE,
        {
            "header": table(("offset", "register", "whose", "why"), map(_register, tables.HEADER)),
            "conventional": _shown(*conventional),
            "express": table(("where", "offset", "register", "whose", "why"), express),
            "extended": _shown(*extended),
            "hidden": table(
                ("id", "capability", "why"), [*_hidden(*conventional), *_hidden(*extended)]
            ),
        },
    )


def _shown(seen: Mapping[int, Seen], names: Mapping[int, str], digits: int) -> str:
    lines: list[Line] = []
    for id, kind in sorted(seen.items()):
        if not kind.hidden and id != PCI_CAP_ID_EXP:
            lines += _capability(f"{names[id]} ({id:#0{digits + 2}x})", kind)
    return table(("capability", "offset", "register", "whose", "why"), lines)


def _capability(name: str, kind: Seen) -> Iterator[Line]:
    if kind.why or not kind.rows:
        yield name, "", "all but what follows" if kind.rows else "all", "the device's", kind.why
        name = ""
    for row in kind.rows:
        yield name, *_register(row)
        name = ""


def _register(row: Row) -> Line:
    what = row.what
    if row.mask != (1 << 8 * row.size) - 1:
        what += f" (bits {row.mask:#x})"
    whose = row.whose if row.value is None else f"{row.whose}: {row.value:#x}"
    return f"{row.offset:#04x}", what, whose, row.why


def _hidden(seen: Mapping[int, Seen], names: Mapping[int, str], digits: int) -> Iterable[Line]:
    return (
        (f"{id:#0{digits + 2}x}", names[id], kind.why)
        for id, kind in sorted(seen.items())
        if kind.hidden
    )
