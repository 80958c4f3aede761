# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The memory map: everything that is RAM and free, nothing that isn't."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.boot.memory_map import E820_RAM, E820_RESERVED, RESERVED, memory_map
from pyvmm.boot.placement import LOW_RAM_END
from pyvmm.memory import DEVICE, RAM, ROM, MemoryRegion, layout

MIB = 1 << 20
GIB = 1 << 30


def region(gpa: int, size: int, kind: str = RAM) -> MemoryRegion:
    return MemoryRegion(gpa, size, host=0, kind=kind, name=kind)


def ram_of(size: int) -> list[MemoryRegion]:
    low = min(size, layout.LOW_RAM_LIMIT)
    regions = [region(0, low)]
    if size > low:
        regions.append(region(layout.HIGH_RAM_BASE, size - low))
    return regions


def test_a_small_guest() -> None:
    assert memory_map(ram_of(64 * MIB)) == [
        (0, 0x9_FC00, E820_RAM),
        (0x9_FC00, 0x6_0400, E820_RESERVED),
        (0x10_0000, 63 * MIB, E820_RAM),
        (0xE000_0000, 0x1000_0000, E820_RESERVED),
        (0xFEFF_C000, 0x4000, E820_RESERVED),
    ]


def test_ram_beyond_the_hole() -> None:
    entries = memory_map(ram_of(8 * GIB))
    assert (0x10_0000, 3 * GIB - MIB, E820_RAM) in entries
    assert entries[-1] == (4 * GIB, 5 * GIB, E820_RAM)


@given(st.integers(1, 1 << 28))
def test_all_of_ram_but_the_legacy_hole_is_told(pages: int) -> None:
    """From next to nothing to a TiB, wherever it ends."""
    size = MIB + pages * layout.PAGE_SIZE
    entries = memory_map(ram_of(size))
    ram = [(start, length) for start, length, of in entries if of == E820_RAM]
    hole = layout.VGA_HOLE_END - LOW_RAM_END
    assert sum(length for _, length in ram) == size - hole
    assert ram[-1][0] + ram[-1][1] == layout.ram_end(size)
    assert entries == sorted(entries)
    assert len(entries) <= 6
    for start, length in ram:
        assert start + length <= layout.LOW_RAM_LIMIT or start >= layout.HIGH_RAM_BASE


def test_only_ram_is_ram() -> None:
    regions = [
        *ram_of(16 * MIB),
        region(0xC000_0000, MIB, DEVICE),
        region(0xFFFF_0000, 64 << 10, ROM),
    ]
    assert memory_map(regions) == memory_map(ram_of(16 * MIB))


@given(
    sizes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(1, 1 << 20), st.sampled_from([RAM, DEVICE])),
        max_size=8,
    )
)
def test_the_map_is_exact(sizes: list[tuple[int, int, str]]) -> None:
    """Sorted, disjoint, joined; and each address is what it should be."""
    regions = []
    at = 0
    for gap, pages, kind in sizes:
        at += (gap if gap & 1 else 0) * 4096
        regions.append(region(at, pages * 4096, kind))
        at = regions[-1].end
    entries = memory_map(regions)

    for (start, size, of), (next_start, _, next_of) in pairwise(entries):
        assert start + size <= next_start
        assert not (start + size == next_start and of == next_of == E820_RAM)
    assert all(size > 0 for _, size, _ in entries)

    edges = {edge for r in regions for edge in (r.gpa, r.end)} | {e for r in RESERVED for e in r}
    for edge in edges:
        for address in (edge - 1, edge):
            if address < 0:
                continue
            reserved = any(start <= address < end for start, end in RESERVED)
            is_ram = any(r.kind == RAM and r.gpa <= address < r.end for r in regions)
            types = {of for start, size, of in entries if start <= address < start + size}
            expected = {E820_RESERVED} if reserved else {E820_RAM} if is_ram else set()
            assert types == expected
