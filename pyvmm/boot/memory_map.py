# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The memory map a guest is told at boot, as E820 has it (ACPI 6.5, section 15)."""

from __future__ import annotations

from pyvmm.memory import RAM, layout

from .placement import LOW_RAM_END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyvmm.memory import MemoryRegion

    MapEntry = tuple[int, int, int]

E820_RAM = 1
E820_RESERVED = 2

_KVM_PAGES_END = layout.TSS_BASE + 3 * layout.PAGE_SIZE

RESERVED = (
    (LOW_RAM_END, layout.VGA_HOLE_END),
    (layout.ECAM_BASE, layout.ECAM_BASE + layout.ECAM_SIZE),
    (layout.IDENTITY_MAP_BASE, _KVM_PAGES_END),
)
"""Addresses no guest may use as RAM or give to a BAR, as (start, end)."""


def memory_map(regions: Iterable[MemoryRegion]) -> list[MapEntry]:
    """(address, size, type) by ascending address, without overlaps; sizes in bytes.

    RAM is what is RAM among regions, which are in order, less what is RESERVED.
    """
    entries = [(start, end - start, E820_RESERVED) for start, end in RESERVED]
    for start, end in _joined_ram(regions):
        at = start
        for reserved_start, reserved_end in RESERVED:
            if at < reserved_end and reserved_start < end:
                if at < reserved_start:
                    entries.append((at, reserved_start - at, E820_RAM))
                at = reserved_end
        if at < end:
            entries.append((at, end - at, E820_RAM))
    entries.sort()
    return entries


def _joined_ram(regions: Iterable[MemoryRegion]) -> list[tuple[int, int]]:
    """RAM as (start, end), with regions that touch made one."""
    joined: list[tuple[int, int]] = []
    for region in regions:
        if region.kind != RAM:
            continue
        if joined and joined[-1][1] == region.gpa:
            joined[-1] = (joined[-1][0], region.end)
        else:
            joined.append((region.gpa, region.end))
    return joined
