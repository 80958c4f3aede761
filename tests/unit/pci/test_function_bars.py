# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The BARs of an assigned device: where they are, what is mapped, what traps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.memory.layout import ECAM_BASE, IOAPIC_BASE, LAPIC_BASE
from pyvmm.vfio import DeviceError, DeviceGone, EventFd, Interval, IoEventFd
from tests.unit.pci.conftest import (
    COMMAND,
    IO,
    MEMORY,
    Setting,
    device_regions,
    make_device,
)
from tests.unit.pci.fake_device import CONFIG, ROM, FakeDevice

BAR0 = 0xC0010000


def test_decoding_puts_bars_where_their_registers_say(setting: Setting) -> None:
    assert device_regions(setting) == []
    bar0, io, bar2, tiny, _rom = (bar.address for bar in setting.function.bars)
    setting.write(COMMAND, 2, MEMORY)
    # BAR 0 without the page of MSI-X; BAR 2 without its first two, which can't be mapped.
    assert device_regions(setting) == [
        (bar0, 0x1000),
        (bar0 + 0x2000, 0x6000),
        (bar2 + 0x2000, 0xE000),
    ]
    setting.device.contents[4][8] = 0x99
    assert setting.load(tiny + 8, 1) == 0x99
    assert setting.ports.lookup(io, 1)[0] == setting.ports.unclaimed.read
    setting.write(COMMAND, 2, IO)
    assert device_regions(setting) == []
    assert setting.load(tiny + 8, 1) == 0xFF
    setting.device.contents[1][0] = 0x77
    read, _, offset = setting.ports.lookup(io, 1)
    assert read(offset, 1) == 0x77


def test_the_device_learns_of_bars_before_it_decodes_them(setting: Setting) -> None:
    setting.device.accesses.clear()
    setting.write(COMMAND, 2, MEMORY)
    told = setting.device.accesses
    assert [access[2] for access in told] == [0x10, 0x14, 0x18, 0x1C, 0x20, 0x30, COMMAND]
    assert told[0][3] == setting.function.bars[0].address
    told.clear()
    setting.write(COMMAND, 2, 0)
    setting.write(COMMAND, 2, MEMORY)
    assert [access[2] for access in told] == [COMMAND, COMMAND], "what it knows it isn't told"
    setting.function.reset()
    told.clear()
    setting.write(COMMAND, 2, MEMORY)
    assert len(told) == 7, "a reset makes it forget"


def test_bars_appear_after_the_device_decodes_and_go_before_it_stops(
    make: Callable[..., Setting],
) -> None:
    order: list[tuple[int, int]] = []

    class Device(FakeDevice):
        def region_write(self, index: int, offset: int, data: bytes) -> None:
            super().region_write(index, offset, data)
            if (index, offset) == (CONFIG, COMMAND) and made:
                order.append((data[0], len(device_regions(made[0]))))

    made: list[Setting] = []
    device = Device()
    device.add_region(0, 0x4000, register=0, mappable=(Interval(0, 0x4000),))
    made.append(make(device))
    made[0].write(COMMAND, 2, MEMORY)
    made[0].write(COMMAND, 2, 0)
    assert order == [(MEMORY, 0), (0, 0)]


def test_a_device_may_refuse_what_it_is_told(setting: Setting) -> None:
    setting.device.refuse = DeviceError("unknown command bits", 22)
    setting.write(COMMAND, 2, MEMORY | 0x40)
    setting.device.refuse = None
    assert len(device_regions(setting)) == 3
    assert setting.function.guard.counts == {"writes refused": 7}
    assert len(setting.reports) == 1
    setting.device.accesses.clear()
    setting.write(COMMAND, 2, MEMORY)
    assert len(setting.device.accesses) == 1, "where its BARs are it was told once"


def test_a_device_lost_while_it_is_told_shows_no_bar(setting: Setting) -> None:
    setting.device.refuse = setting.device.refuse_irqs = DeviceGone("the server died")
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == []
    assert str(setting.function.guard.gone) == "the server died"
    setting.device.refuse = setting.device.refuse_irqs = None


def test_moving_a_bar(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    setting.device.contents[0][0x1004] = 0x42
    setting.write(0x10, 4, 0xD0000000)
    assert device_regions(setting)[:2] == [(0xD0000000, 0x1000), (0xD0002000, 0x6000)]
    assert setting.load(0xD0001004, 1) == 0x42
    assert setting.load(BAR0 + 0x1004, 1) == 0xFF
    # One byte at a time, over places that are none.
    for i, byte in enumerate((0xD1000000).to_bytes(4, "little")):
        setting.write(0x10 + i, 1, byte)
    assert device_regions(setting)[0] == (0xD1000000, 0x1000)
    assert setting.function.guard.counts == {}


def test_sizing_with_decode_on_is_quiet(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    before = device_regions(setting)
    address = setting.read(0x10, 4)
    setting.write(0x10, 4, 0xFFFFFFFF)
    assert setting.read(0x10, 4) == 0xFFFF8000
    setting.write(0x10, 4, address)
    assert device_regions(setting) == before
    assert setting.function.guard.counts == {}
    assert setting.reports == []


@pytest.mark.parametrize("address", [0x100000, ECAM_BASE, IOAPIC_BASE, LAPIC_BASE & ~0x7FFF])
def test_a_bar_on_top_of_something_is_nowhere(setting: Setting, address: int) -> None:
    setting.write(COMMAND, 2, MEMORY)
    others = device_regions(setting)[2:]
    setting.write(0x10, 4, address)
    assert device_regions(setting) == others
    assert setting.load(BAR0 + 0x1000, 4) == 0xFFFFFFFF
    assert setting.function.guard.counts["BARs on top of something else"] == 1
    assert len(setting.reports) == 1
    assert "fake BAR 0 is not mapped where the guest put it" in setting.reports[0]
    setting.write(0x10, 4, 0xD0000000)
    assert device_regions(setting)[0] == (0xD0000000, 0x1000)


def test_two_bars_at_one_address(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    tiny = setting.function.bars[3].address
    setting.write(0x10, 4, tiny & ~0x7FFF)
    assert setting.function.guard.counts["BARs on top of something else"] == 1
    setting.device.contents[4][0] = 0x13
    assert setting.load(tiny, 1) == 0x13, "who was first stays"


def test_half_a_64_bit_address(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    setting.write(0x1C, 4, 2)
    setting.write(0x18, 4, 0x20000)
    assert (0x2_0002_2000, 0xE000) in device_regions(setting)


def test_the_rom_needs_its_enable_bit(setting: Setting) -> None:
    setting.device.contents[ROM][0:2] = 0x55, 0xAA
    rom = setting.function.bars[4].address
    setting.write(COMMAND, 2, MEMORY)
    assert setting.load(rom, 2) == 0xFFFF
    setting.write(0x30, 4, rom | 1)
    assert setting.load(rom, 2) == 0xAA55
    assert setting.read(0x30, 4) == rom | 1


def test_the_msix_table_shares_its_page_with_registers(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    bar0 = setting.function.bars[0].address
    setting.store(bar0 + 0x1800, 4, 0xFEE00000)
    setting.store(bar0 + 0x17F8, 8, 0x1122334455667788)
    assert setting.device.contents[0][0x17F8:0x1804] == bytes.fromhex("887766554433221100000000")
    assert setting.load(bar0 + 0x1800, 4) == 0xFEE00000
    assert setting.load(bar0 + 0x17FC, 8) == 0xFEE00000_11223344
    assert setting.load(bar0 + 0x1900, 4) == 0, "behind the table there are registers again"


def test_a_region_that_is_no_power_of_two(make: Callable[..., Setting]) -> None:
    device = FakeDevice()
    device.add_region(0, 0x3004, register=0, mappable=(Interval(0, 0x3000),))
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY)
    bar = setting.function.bars[0]
    assert bar.size == 0x4000
    assert device_regions(setting) == [(bar.address, 0x3000)]
    assert setting.load(bar.address + 0x3000, 4) == 0
    assert setting.load(bar.address + 0x3004, 4) == 0xFFFFFFFF
    setting.store(bar.address + 0x3004, 4, 1)
    assert setting.function.guard.counts == {}


def test_doorbells_follow_their_bar(make: Callable[..., Setting]) -> None:
    with EventFd() as bell:
        fd = bell.fileno()
        device = make_device()
        device.bells[0] = [IoEventFd(0x1000, 4, fd), IoEventFd(0x7FFE, 4, fd)]
        device.bells[1] = [IoEventFd(8, 2, fd, 7)]
        setting = make(device)
        bar0, io = (bar.address for bar in setting.function.bars[:2])
        setting.write(COMMAND, 2, MEMORY | IO)
        assert set(setting.vm.doorbells) == {
            (fd, bar0 + 0x1000, 4, False, None),
            (fd, io + 8, 2, True, 7),
        }
        setting.write(0x10, 4, 0xD0000000)
        assert (fd, 0xD0001000, 4, False, None) in setting.vm.doorbells
        setting.write(COMMAND, 2, 0)
        assert setting.vm.doorbells == {}
        setting.vm.refuse_doorbells = True
        setting.write(COMMAND, 2, MEMORY)
        assert setting.function.guard.counts == {"doorbells not connected": 1}
        setting.store(0xD0001000, 4, 5)
        assert setting.device.contents[0][0x1000] == 5, "it is a register then"


def test_a_region_that_can_only_be_read_is_not_mapped(make: Callable[..., Setting]) -> None:
    device = make_device()
    info = device.regions[2]
    device.regions[2] = info._replace(flags=info.flags & ~2)
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY)
    assert len(device_regions(setting)) == 2
    setting.store(setting.function.bars[2].address, 4, 1)
    assert setting.function.guard.counts == {}, "writes to what is read-only are nothing special"


def test_what_can_not_be_mapped_is_trapped(make: Callable[..., Setting]) -> None:
    class Device(FakeDevice):
        def region_fd(self, index: int) -> int:
            return -1

    device = Device()
    device.add_region(0, 0x4000, register=0, mappable=(Interval(0, 0x4000),))
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == []
    assert len(setting.reports) == 1
    setting.store(setting.function.bars[0].address, 4, 0x1234)
    assert device.contents[0][0:2] == b"\x34\x12"
