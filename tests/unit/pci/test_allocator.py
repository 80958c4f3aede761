# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Placing BARs: in their windows, aligned, apart from each other, and clear words if not."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.memory import layout
from pyvmm.pci.allocator import Window, Windows, place
from pyvmm.pci.bars import IO, MEM32, MEM64, ROM
from pyvmm.pci.bus import Bus
from pyvmm.pci.errors import NoRoom
from tests.unit.pci.functions import WithBars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.pci.bars import Kind
    from tests.unit.pci.functions import Want

GIB = 1 << 30


def on_a_bus(*functions: WithBars) -> tuple[WithBars, ...]:
    bus = Bus()
    for device, function in enumerate(functions, 1):
        bus.add(function, device=device)
    return functions


def test_each_kind_goes_to_its_window() -> None:
    (function,) = on_a_bus(
        WithBars(
            (IO, 0x100, False), (MEM32, 0x1000, True), (MEM64, 0x1000, True), (ROM, 0x800, False)
        )
    )
    place([function], Windows(GIB, 40))
    io, mem32, mem64, rom = (bar.address for bar in function.bars)
    assert layout.IO_START <= io < layout.IO_END
    assert layout.MMIO32_START <= mem32 < layout.MMIO32_END
    assert layout.MMIO32_START <= rom < layout.MMIO32_END
    assert mem64 >= layout.HIGH_RAM_BASE


def test_64_bit_without_prefetch_stays_below_4_gib_while_it_can() -> None:
    (function,) = on_a_bus(WithBars((MEM64, 0x4000, False), (MEM64, 1 << 32, False)))
    place([function], Windows(GIB, 40))
    small, huge = function.bars
    assert small.address < layout.MMIO32_END
    assert huge.address >= layout.HIGH_RAM_BASE


def test_a_narrow_guest_has_64_bit_bars_below_4_gib() -> None:
    (function,) = on_a_bus(WithBars((MEM64, 0x4000, True)))
    place([function], Windows(GIB, 32))
    assert layout.MMIO32_START <= function.bars[0].address < layout.MMIO32_END


def test_flexible_bars_leave_room_for_those_that_are_not() -> None:
    flexible, fixed = on_a_bus(
        WithBars((MEM64, 1 << 29, False)), WithBars((MEM32, 0x1000, False), name="fixed")
    )
    place([flexible, fixed], Windows(GIB, 40))
    assert fixed.bars[0].address == layout.MMIO32_START
    assert flexible.bars[0].address >= layout.HIGH_RAM_BASE


def test_small_memory_bars_have_pages_of_their_own() -> None:
    functions = on_a_bus(*(WithBars((MEM32, 16, False), (MEM32, 256, False)) for _ in range(3)))
    place(functions, Windows(GIB, 40))
    addresses = [bar.address for function in functions for bar in function.bars]
    assert len({address // layout.PAGE_SIZE for address in addresses}) == len(addresses)
    assert all(address % layout.PAGE_SIZE == 0 for address in addresses)


def test_what_fits_nowhere_is_told_with_its_cure() -> None:
    bus = Bus()
    function = WithBars((MEM32, 1 << 28, False), (MEM32, 1 << 29, False), name="gpu")
    bus.add(function, device=2)
    with pytest.raises(NoRoom) as caught:
        place([function], Windows(GIB, 40))
    assert str(caught.value) == (
        "gpu at 00:02.0: BAR 0 (32-bit memory, 0x10000000 bytes) fits in no gap of the 32-bit "
        "window (0xc0000000-0xdfffffff); assign fewer devices with such BARs"
    )


@pytest.mark.parametrize(
    ("kind", "size", "most"),
    [(IO, 0x10000, 0x8000), (MEM32, 1 << 30, 1 << 29), (MEM64, 1 << 40, 1 << 39)],
)
def test_what_fits_in_no_machine_is_told_so(kind: Kind, size: int, most: int) -> None:
    """Neither fewer devices nor a wider guest helps."""
    (function,) = on_a_bus(WithBars((kind, most, False)))
    place([function], Windows(GIB, 52))
    (function,) = on_a_bus(WithBars((kind, size, False)))
    with pytest.raises(NoRoom, match=f"; BARs of this kind can have {most:#x} bytes: configure"):
        place([function], Windows(GIB, 52))


def test_an_empty_64_bit_window_is_told() -> None:
    (function,) = on_a_bus(WithBars((MEM64, 1 << 38, True)))
    with pytest.raises(NoRoom, match=r"64-bit window \(empty\) nor the 32-bit.*36 bits of phys"):
        place([function], Windows(70 * GIB, 36))


def test_ports_run_out() -> None:
    functions = on_a_bus(*(WithBars((IO, 0x8000, False), name=f"nic{i}") for i in range(2)))
    with pytest.raises(NoRoom, match=r"nic1 at 00:02.0: BAR 0 \(I/O, 0x8000 bytes\).*I/O window"):
        place(functions, Windows(GIB, 40))


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([IO, MEM32, MEM64, ROM]), st.integers(1, 24), st.booleans()
            ).map(lambda want: (want[0], 1 << min(want[1], 8 if want[0] == IO else 24), want[2])),
            max_size=3,
            unique_by=lambda want: want[0] == ROM and ROM,
        ),
        max_size=8,
    )
)
def test_placed_bars_are_aligned_inside_and_apart(wants: list[list[Want]]) -> None:
    windows = Windows(3 * GIB, 39)
    functions = on_a_bus(*(WithBars(*want) for want in wants))
    place(functions, windows)
    taken: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for function in functions:
        for bar in function.bars:
            assert bar.address % bar.size == 0
            inside = [
                window
                for window in windows.choices(bar)
                if window.start <= bar.address and bar.address + bar.size <= window.end
            ]
            assert inside
            taken[bar.io].append((bar.address, bar.address + bar.size))
    for spans in taken.values():
        spans.sort()
        assert all(one[1] <= two[0] for one, two in pairwise(spans))


def test_a_window_is_filled_to_the_last_byte() -> None:
    window = Window("w", 0x1000, 0x5000, "", 0x4000)
    sizes = [0x2000, 0x1000, 0x800, 0x800]
    assert [window.take(size, size) for size in sizes] == [0x2000, 0x1000, 0x4000, 0x4800]
    assert window.take(1, 1) is None
