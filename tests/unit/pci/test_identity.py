# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What makes a function another one than before, and how people are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pyvmm.pci.bars import IO, MEM32, MEM64, Bar
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.identity import Identity, difference, identity
from pyvmm.uapi.pci_regs import PCI_REVISION_ID

if TYPE_CHECKING:
    from pyvmm.pci.bars import Kind

BARS: Sequence[tuple[int, Kind, int]] = ((0, MEM64, 0x4000), (2, IO, 0x20))
VECTORS = (("MSI", 4), ("MSI-X", 65))


def made(
    ids: tuple[int, int] = (0x1234, 0x11E8),
    class_code: int = 0x010802,
    bars: Sequence[tuple[int, Kind, int]] = BARS,
    vectors: Sequence[tuple[str, int]] = VECTORS,
    revision: int = 0,
) -> Identity:
    config = ConfigSpace(4096)
    config.set_ids(*ids, class_code=class_code)
    config.set_u8(PCI_REVISION_ID, revision)
    return identity(config, [Bar(config, *bar) for bar in bars], vectors)


def test_the_same() -> None:
    assert difference(made(), made()) == ""
    assert difference(made(), made(revision=2)) == "", "a server may be of a newer one"


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (made((0x1B36, 0x0010)), "device 1b36:0010 instead of device 1234:11e8"),
        (made(class_code=0x020000), "class 020000 instead of class 010802"),
        (
            made(bars=((0, MEM64, 0x8000), BARS[1])),
            "BAR 0 of 0x8000 bytes (64-bit memory) instead of "
            "BAR 0 of 0x4000 bytes (64-bit memory)",
        ),
        (
            made(bars=((0, MEM32, 0x4000), BARS[1])),
            "BAR 0 of 0x4000 bytes (32-bit memory) instead of "
            "BAR 0 of 0x4000 bytes (64-bit memory)",
        ),
        (made(bars=BARS[:1]), "nothing instead of BAR 2 of 0x20 bytes (I/O)"),
        (
            made(bars=(*BARS, (3, MEM32, 0x1000))),
            "BAR 3 of 0x1000 bytes (32-bit memory) instead of nothing",
        ),
        (
            made(vectors=(("MSI", 4), ("MSI-X", 33))),
            "33 MSI-X vectors instead of 65 MSI-X vectors",
        ),
        (
            made(vectors=(("MSI", 1), ("MSI-X", 65))),
            "1 MSI vector instead of 4 MSI vectors",
        ),
    ],
)
def test_another(now: Identity, told: str) -> None:
    assert difference(made(), now) == told
