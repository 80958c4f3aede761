# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Placing what is behind root ports: in windows of the ports', which lie in the machine's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvmm.memory import layout
from pyvmm.pci.allocator import Windows, number_buses, place
from pyvmm.pci.bars import IO, MEM32, MEM64, ROM
from pyvmm.pci.bus import Bus
from pyvmm.pci.errors import NoRoom
from pyvmm.pci.root_port import RootPort
from tests.unit.pci.functions import WithBars, behind_port, reset_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.unit.pci.functions import Want

MIB, GIB = 1 << 20, 1 << 30


def io_window(port: RootPort) -> tuple[int, int]:
    """(base, limit) of the ports passed on; (0, 0) without such a window."""
    base, limit = port.config_read(0x1C, 1), port.config_read(0x1D, 1)
    return (base & 0xF0) << 8, (limit & 0xF0) << 8 | (0xFFF if limit else 0)


def memory_window(port: RootPort) -> tuple[int, int]:
    return port.config_read(0x20, 2) << 16, port.config_read(0x22, 2) << 16 | 0xFFFFF


def prefetchable_window(port: RootPort) -> tuple[int, int]:
    assert port.config_read(0x24, 2) & 0xF == port.config_read(0x26, 2) & 0xF == 1, "64 bits"
    base = port.config_read(0x28, 4) << 32 | (port.config_read(0x24, 2) & 0xFFF0) << 16
    limit = port.config_read(0x2C, 4) << 32 | (port.config_read(0x26, 2) & 0xFFF0) << 16
    return base, limit | 0xFFFFF


def test_buses_are_numbered_in_order_of_the_ports() -> None:
    bus = Bus()
    late = behind_port(bus, WithBars(), device=9, number=1)
    early = behind_port(bus, WithBars(), device=4, number=2)
    number_buses(bus)
    for port, number in ((early, 1), (late, 2)):
        assert [port.config_read(register, 1) for register in (0x18, 0x19, 0x1A)] == [
            0,
            number,
            number,
        ]
        assert port.secondary.functions[0].bdf == number << 8


def test_each_kind_lies_in_a_window_of_its_own() -> None:
    bus = Bus()
    wide = WithBars((MEM64, 8 * MIB, True), (MEM64, 16 << 10, False), (MEM32, 4 * MIB, True))
    narrow = WithBars((IO, 0x40, False), (ROM, 0x10000, False))
    port = behind_port(bus, wide, narrow)
    place(bus.functions, Windows(GIB, 40))
    assert io_window(port) == (layout.IO_START, layout.IO_START + 0xFFF)
    assert memory_window(port) == (layout.MMIO32_START, layout.MMIO32_START + 5 * MIB - 1)
    assert prefetchable_window(port) == (4 * GIB, 4 * GIB + 8 * MIB - 1)
    assert [bar.address for bar in wide.bars] == [
        4 * GIB,
        layout.MMIO32_START + 4 * MIB + 0x10000,
        layout.MMIO32_START,
    ]
    assert [bar.address for bar in narrow.bars] == [
        layout.IO_START,
        layout.MMIO32_START + 4 * MIB,
    ]


def test_without_ports_behind_it_a_bridge_takes_none() -> None:
    bus = Bus()
    port = behind_port(bus, WithBars((MEM32, 0x1000, False)))
    place(bus.functions, Windows(GIB, 40))
    assert io_window(port) == (0, 0)
    port.config_write(0x1C, 2, 0xF0E0)
    assert io_window(port) == (0, 0), "there is no such window"


def test_an_empty_slot_has_room_too() -> None:
    bus = Bus()
    port = behind_port(bus)
    place(bus.functions, Windows(GIB, 40))
    assert memory_window(port) == (layout.MMIO32_START, layout.MMIO32_START + 2 * MIB - 1)
    assert prefetchable_window(port) == (4 * GIB, 4 * GIB + 2 * MIB - 1)


def test_a_narrow_guest_has_the_prefetchable_window_below_4_gib() -> None:
    bus = Bus()
    function = WithBars((MEM64, 4 * MIB, True))
    port = behind_port(bus, function)
    place(bus.functions, Windows(GIB, 32))
    base, limit = prefetchable_window(port)
    assert base >= layout.MMIO32_START
    assert limit < layout.MMIO32_END
    assert function.bars[0].address == base


def test_what_fits_nowhere_is_told_with_its_cure() -> None:
    bus = Bus()
    functions = WithBars((MEM32, GIB // 4, False), name="gpu"), WithBars(name="sound")
    behind_port(bus, *functions, device=3, number=7)
    bus.add(WithBars((MEM32, GIB // 2, False)), device=2)
    number_buses(bus)
    with pytest.raises(NoRoom) as caught:
        place(bus.functions, Windows(GIB, 40))
    assert str(caught.value) == (
        "root port 7 at 00:03.0: its memory window (0x10000000 bytes) fits in no gap of the "
        "32-bit window (0xc0000000-0xdfffffff); assign fewer devices with such BARs; "
        "assign gpu, sound without root_port"
    )


def test_what_never_fits_behind_a_port_is_told_so() -> None:
    bus = Bus()
    behind_port(bus, WithBars((MEM64, GIB, False), name="gpu"))
    with pytest.raises(
        NoRoom, match=r"bytes\) fits in no gap of .*; assign gpu without root_port$"
    ):
        place(bus.functions, Windows(GIB, 40))


wants = st.lists(
    st.tuples(st.sampled_from([IO, MEM32, MEM64, ROM]), st.integers(2, 24), st.booleans()).map(
        lambda want: (want[0], 1 << min(want[1], 8 if want[0] == IO else 24), want[2])
    ),
    max_size=3,
    unique_by=lambda want: want[0] == ROM and ROM,
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), wants), max_size=10))
def test_bars_are_aligned_apart_and_where_their_bridge_passes_them_on(
    devices: list[tuple[bool, list[Want]]],
) -> None:
    bus = Bus()
    for device, (behind, want) in enumerate(devices, 1):
        function = WithBars(*want, name=f"device {device}")
        if behind:
            behind_port(bus, function, device=device, number=device)
        else:
            bus.add(function, device=device)
    number_buses(bus)
    place(bus.functions, Windows(3 * GIB, 39))
    reset_all(bus)
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for port in bus.bridges:
        assert isinstance(port, RootPort)
        for window in (memory_window(port), prefetchable_window(port)):
            spans[False].append(window)
        if io_window(port)[1]:
            spans[True].append(io_window(port))
        for behind_it in port.secondary.functions:
            taken: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
            for bar in behind_it.bars:
                assert bar.address % bar.size == 0
                assert port.forwards(bar.address, bar.size, io=bar.io)
                taken[bar.io].append((bar.address, bar.address + bar.size - 1))
            for inside in taken.values():
                assert all(one[1] < two[0] for one, two in pairwise(sorted(inside)))
    for on_bus in bus.functions:
        spans[True] += [(b.address, b.address + b.size - 1) for b in on_bus.bars if b.io]
        spans[False] += [(b.address, b.address + b.size - 1) for b in on_bus.bars if not b.io]
    for apart in spans.values():
        assert all(one[1] < two[0] for one, two in pairwise(sorted(apart)))
