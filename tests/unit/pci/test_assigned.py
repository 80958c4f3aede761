# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VFIO device as the guest sees it: its configuration space, BARs and interrupts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvmm.memory.layout import ECAM_BASE, IOAPIC_BASE, LAPIC_BASE
from pyvmm.pci.errors import BadDevice, BadLayer
from pyvmm.pci.handlers import Layer
from pyvmm.vfio import DeviceError, DeviceGone, EventFd, Interval, IoEventFd
from tests.unit.pci.conftest import (
    COMMAND,
    CONFIG,
    INTX,
    IO,
    MASTER,
    MEMORY,
    MSI,
    MSI_AT,
    MSIX,
    MSIX_AT,
    NO_INTX,
    ROM,
    VENDOR_AT,
    FakeDevice,
    Setting,
    device_regions,
    make_device,
)

BAR0 = 0xC0010000

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.memory import IoHandler


# -- configuration space ---------------------------------------------------------------------


def test_identity_and_unknown_capabilities_are_the_devices(setting: Setting) -> None:
    assert setting.read(0, 4) == 0x56781234
    assert setting.read(VENDOR_AT, 4) == 0x01080009
    setting.device.accesses.clear()
    setting.write(VENDOR_AT + 4, 4, 0xDEADBEEF)
    setting.write(VENDOR_AT + 5, 1, 0x11)
    assert setting.device.accesses == [
        ("write", CONFIG, VENDOR_AT + 4, 0xDEADBEEF, 4),
        ("write", CONFIG, VENDOR_AT + 5, 0x11, 1),
    ]
    assert setting.read(VENDOR_AT + 4, 4) == 0xDEAD11EF


def test_the_extended_space_is_the_devices(setting: Setting) -> None:
    setting.device.config[0x100:0x104] = 0x03, 0x00, 0x01, 0x00
    assert setting.read(0x100, 4) == 0x00010003
    assert setting.read(0xFFC, 4) == 0


def test_a_conventional_device_has_no_extended_space(make: Callable[..., Setting]) -> None:
    device = make_device()
    del device.config[256:]
    setting = make(device)
    assert setting.read(0x100, 4) == 0xFFFFFFFF
    setting.write(0x100, 4, 0)
    assert setting.read(0xFC, 4) == 0


def test_the_capability_chain_is_fixed(setting: Setting) -> None:
    pointers = setting.read(0x34, 1), setting.read(MSI_AT + 1, 1), setting.read(MSIX_AT + 1, 1)
    assert pointers == (MSI_AT, MSIX_AT, VENDOR_AT)
    setting.device.config[VENDOR_AT + 1] = MSI_AT
    assert setting.read(VENDOR_AT + 1, 1) == 0, "no guest is led in circles"


def test_interrupt_line_shows_the_gsi_and_the_pin_is_fixed(setting: Setting) -> None:
    assert setting.read(0x3C, 2) == 2 << 8 | 16
    setting.write(0x3C, 2, 0x040B)
    assert setting.read(0x3C, 2) == 2 << 8 | 11, "software may keep a number of its own there"


def test_a_device_without_intx_for_us_has_no_pin(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.kinds[INTX].count = 0
    setting = make(device)
    assert setting.read(0x3C, 2) == 0
    assert setting.device.log == [("reset",)]


def test_command_bits_are_ours_and_told_to_the_device(setting: Setting) -> None:
    setting.device.config[COMMAND : COMMAND + 2] = 0x47, 0x01
    assert setting.read(COMMAND, 2) == 0x0140, "decoding is off until the guest turns it on"
    setting.device.accesses.clear()
    setting.write(COMMAND, 2, NO_INTX | MASTER | 0x100)
    assert ("write", CONFIG, COMMAND, NO_INTX | MASTER | 0x100, 2) in setting.device.accesses
    assert setting.read(COMMAND, 2) == NO_INTX | MASTER | 0x100


def test_bars_are_sized_without_asking_the_device(setting: Setting) -> None:
    setting.device.accesses.clear()
    sizes = []
    for at in (0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x30):
        before = setting.read(at, 4)
        setting.write(at, 4, 0xFFFFFFFF)
        sizes.append(setting.read(at, 4))
        setting.write(at, 4, before)
    assert sizes == [0xFFFF8000, 0xFFFFFFC1, 0xFFFF000C, 0xFFFFFFFF, 0xFFFFFF00, 0, 0xFFFFF001]
    assert setting.device.accesses == []


def test_msi_without_vectors_is_hidden(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.kinds[MSI].count = 0
    device.kinds[MSIX].count = 0
    setting = make(device)
    assert setting.read(0x34, 1) == VENDOR_AT
    assert setting.read(VENDOR_AT, 2) == 0x0009


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.config.__setitem__(slice(0, 4), b"\xff" * 4), "does not answer"),
        (lambda d: d.config.__setitem__(0x0E, 0x81), "is a bridge"),
        (lambda d: d.config.__delitem__(slice(64, None)), "64 bytes of configuration space"),
        (lambda d: d.config.__setitem__(MSIX_AT + 4, 3), "MSI-X table .* BAR 3"),
        (lambda d: d.config.__setitem__(MSIX_AT + 10, 0x10), "MSI-X PBA .* BAR 0"),
        (lambda d: d.add_region(5, 0x1000, register=4), "BAR 5: there is no such"),
        (lambda d: d.add_capability(0xEC, b"\x05\0\x80\x01"), "MSI capability at 0xec is cut off"),
        (lambda d: d.add_capability(0xF8, b"\x11\0\0\0"), "MSI-X capability at 0xf8 is cut off"),
        (lambda d: d.add_region(4, 1 << 33), "too many for 32-bit memory"),
    ],
)
def test_what_can_not_be_true_is_refused(
    no_leaks: None, change: Callable[[FakeDevice], None], says: str
) -> None:
    device = make_device()
    if "too many" in says:
        device.regions[4] = device.regions[4]._replace(size=1 << 33)
    else:
        change(device)
    with pytest.raises(BadDevice, match=says):
        Setting(device)


@settings(max_examples=100, deadline=None)
@given(
    content=st.binary(min_size=192, max_size=192),
    flags=st.binary(min_size=24, max_size=24),
    size=st.sampled_from([256, 4096]),
)
def test_no_configuration_space_breaks_anything(content: bytes, flags: bytes, size: int) -> None:
    device = make_device()
    del device.config[size:]
    device.config[0x40:0x100] = content
    device.config[0x10:0x28] = flags
    device.config[0x34] = content[0]
    try:
        setting = Setting(device)
    except BadDevice:
        return
    try:
        for offset in range(0, 4096, 4):
            setting.write(offset, 4, 0xFFFFFFFF)
            setting.read(offset, 4)
        assert setting.function.guard.counts.keys() <= {"BARs on top of something else"}
    finally:
        setting.close()


# -- BARs ------------------------------------------------------------------------------------


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


class Tap:
    """Sees what goes through it."""

    def __init__(self, below: IoHandler) -> None:
        self.below = below
        self.seen: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        value = self.below.read(offset, size)
        self.seen.append((offset, size, value))
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        self.seen.append((offset, size, value))
        self.below.write(offset, size, value)


def tap_on(taps: list[Tap], region: int, interval: Interval) -> Layer:
    def wrap(below: IoHandler) -> Tap:
        taps.append(Tap(below))
        return taps[-1]

    return Layer(region, interval, wrap)


def test_a_layer_is_seen_and_not_mapped(make: Callable[..., Setting]) -> None:
    taps: list[Tap] = []
    device = make_device()
    with EventFd() as bell:
        device.bells[0] = [IoEventFd(0x3008, 4, bell.fileno())]
        setting = make(device, layers=[tap_on(taps, 0, Interval(0x3008, 0x300C))])
        setting.write(COMMAND, 2, MEMORY)
        bar0 = setting.function.bars[0].address
        assert device_regions(setting)[:3] == [
            (bar0, 0x1000),
            (bar0 + 0x2000, 0x1000),
            (bar0 + 0x4000, 0x4000),
        ]
        assert setting.vm.doorbells == {}, "what is tapped is to be seen"
        device.contents[0][0x3008] = 0x21
        assert setting.load(bar0 + 0x3008, 4) == 0x21
        assert setting.load(bar0 + 0x3000, 4) == 0
        assert taps[0].seen == [(0x3008, 4, 0x21)]


def test_a_layer_on_the_msix_table_and_the_pba(make: Callable[..., Setting]) -> None:
    taps: list[Tap] = []
    layers = [
        tap_on(taps, 0, Interval(0x1000, 0x1900)),
        tap_on(taps, 0, Interval(0x1C00, 0x1C08)),
    ]
    setting = make(layers=layers)
    setting.write(COMMAND, 2, MEMORY)
    setting.write(MSIX_AT + 2, 2, 0x8000)
    page = setting.function.bars[0].address + 0x1000
    setting.store(page + 0x800, 8, 0xFEE00000)
    assert setting.load(page + 0x800, 4) == 0xFEE00000
    setting.device.signal(3)
    setting.device.contents[0][0x1C00] = 8
    assert setting.load(page + 0xC00, 8) == 8
    assert taps[0].seen == [(0x1800, 8, 0xFEE00000), (0x1800, 4, 0xFEE00000)]
    assert taps[1].seen == [(0x1C00, 8, 8)]
    assert len(setting.device.kinds[MSIX].triggers) == 1, "the table is as good as without"


@pytest.mark.parametrize(
    ("region", "interval", "says"),
    [
        (CONFIG, Interval(0, 256), "region 7; that is none of its BARs"),
        (3, Interval(0, 16), "region 3; that is none of its BARs"),
        (4, Interval(0xF0, 0x101), "region 4; that BAR has 0x100 bytes"),
        (4, Interval(8, 8), "region 4"),
        (4, Interval(-4, 8), "region 4"),
    ],
)
def test_a_layer_that_can_not_apply(
    no_leaks: None, region: int, interval: Interval, says: str
) -> None:
    with pytest.raises(BadLayer, match=says):
        Setting(make_device(), layers=[Layer(region, interval, Tap)])


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


# -- interrupts ------------------------------------------------------------------------------


def test_enable_bits_switch_the_kinds_and_the_device_sees_them(setting: Setting) -> None:
    kinds = setting.device.kinds
    assert kinds[INTX].enabled
    assert setting.vm.irqfds, "INTx is there from the start: it needs no enabling"
    setting.write(MSIX_AT + 2, 2, 0xC000)
    assert (bool(kinds[INTX].enabled), bool(kinds[MSIX].enabled)) == (False, True)
    assert setting.device.config[MSIX_AT + 3] == 0xC0
    assert setting.read(MSIX_AT, 4) == 0xC00F0011 | VENDOR_AT << 8
    setting.write(MSIX_AT + 2, 2, 0)
    setting.write(MSI_AT + 4, 4, 0xFEE00000)
    assert setting.device.config[MSI_AT + 4] == 0, "where our messages go is not for the device"
    setting.write(MSI_AT + 2, 2, 0x21)
    assert kinds[MSI].enabled == 4
    assert setting.device.config[MSI_AT + 2] == 0x21
    setting.write(MSI_AT + 2, 2, 0)
    setting.write(COMMAND, 2, NO_INTX)
    assert not any(kind.enabled for kind in kinds.values())
    setting.write(COMMAND, 2, 0)
    assert kinds[INTX].enabled


def test_the_pba_has_what_only_the_device_knows(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    bar0 = setting.function.bars[0].address
    setting.write(MSIX_AT + 2, 2, 0xC000)
    setting.store(bar0 + 0x1810, 4, 0xFEE00000)
    setting.write(MSIX_AT + 2, 2, 0x8000)  # vector 1 is in use now, and masked
    pba = setting.device.contents[0]
    pba[0x1C00:0x1C08] = b"\xee\xff\xff\xff\xff\xff\xff\xff"
    assert setting.load(bar0 + 0x1C00, 8) == 0xFFEC, "of 16 vectors, and not of vector 1"
    assert setting.load(bar0 + 0x1C01, 1) == 0, "all-ones is no answer"
    setting.device.signal(1)
    assert setting.load(bar0 + 0x1C00, 4) == 0xFFEE
    setting.device.refuse = DeviceError("no register", 22)
    assert setting.load(bar0 + 0x1C00, 4) == 2, "what we know we tell"
    setting.device.refuse = None
    setting.store(bar0 + 0x1C00, 8, 0)
    assert pba[0x1C00] == 0xEE, "pending bits are read-only"
    for vector in range(16):
        setting.store(bar0 + 0x1800 + 16 * vector, 4, 0xFEE00000)
    setting.device.accesses.clear()
    assert setting.load(bar0 + 0x1C00, 8) == 2
    assert setting.device.accesses == [], "it isn't asked for what we know"


def test_msi_pending_bits_are_read_through_configuration_space(setting: Setting) -> None:
    setting.write(MSI_AT + 4, 4, 0xFEE00000)
    setting.write(MSI_AT + 0x10, 4, 0xFF)
    setting.write(MSI_AT + 2, 2, 0x31)
    setting.device.signal(6, MSI)
    assert setting.read(MSI_AT + 0x14, 4) == 1 << 6
    assert setting.read(MSI_AT + 0x14, 1) == 1 << 6
    setting.write(MSI_AT + 0x10, 4, 0)
    assert setting.read(MSI_AT + 0x14, 4) == 0
    assert len(setting.vm.delivered) == 1
