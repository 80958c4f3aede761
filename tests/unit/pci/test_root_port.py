# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A root port: its registers, and what of the device behind it a guest reaches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.pci.allocator import Windows, number_buses, place
from pyvmm.pci.bars import IO, MEM32, MEM64
from pyvmm.pci.bus import Bus
from pyvmm.pci.root_port import RootPort
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities
from tests.unit.pci.functions import WithBars, behind_port, reset_all

PORT = 3 << 3
COMMAND, SECONDARY, SUBORDINATE, BRIDGE_CONTROL = 0x04, 0x19, 0x1A, 0x3E
MEMORY_BASE, PREFETCHABLE_BASE = 0x20, 0x24
PORTS, MEMORY = 1, 2
BUS_RESET = 0x40
EXPRESS = 0x58
LINK_CONTROL, LINK_STATUS = EXPRESS + 0x10, EXPRESS + 0x12
SLOT_CONTROL, SLOT_STATUS = EXPRESS + 0x18, EXPRESS + 0x1A
LINK_DISABLE, LINK_ACTIVE = 0x10, 0x2000
CHANGED, PRESENT, LINK_CHANGED = 0x8, 0x40, 0x100


class Setting:
    """A root port at 00:03.0, and behind it, at 01:00.0, a device with a BAR of each kind."""

    def __init__(self, device: WithBars | None = None, *, empty: bool = False) -> None:
        self.bus = Bus()
        self.device = device or WithBars(
            (IO, 0x20, False), (MEM32, 0x1000, False), (MEM64, 0x10000, True)
        )
        behind = () if empty else (self.device,)
        self.port = behind_port(self.bus, *behind, device=3, number=5)
        number_buses(self.bus)
        place(self.bus.functions, Windows(1 << 30, 40))
        reset_all(self.bus)

    def read(self, offset: int, size: int) -> int:
        return self.bus.config_read(PORT, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        self.bus.config_write(PORT, offset, size, value)

    @property
    def reached(self) -> bool:
        """The device answers at 01:00.0."""
        return self.bus.config_read(0x100, 0, 4) == 0x56781234

    @property
    def forwarded(self) -> list[bool]:
        """Which of the device's BARs the port passes on."""
        return [self.port.forwards(bar.address, bar.size, io=bar.io) for bar in self.device.bars]


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_it_is_a_bridge_with_the_capabilities_of_a_root_port(setting: Setting) -> None:
    assert setting.read(0x00, 4) == 0x34208086
    assert setting.read(0x08, 4) >> 8 == 0x060400
    assert setting.read(0x0E, 1) == 1, "header type"
    assert [one.id for one in capabilities(setting.read)] == [0x01, 0x05, 0x10]
    assert [one.id for one in extended_capabilities(setting.read)] == [0x0D]
    assert setting.read(EXPRESS, 1) == 0x10
    assert setting.read(EXPRESS + 2, 2) == 0x0142, "version 2, root port with a slot"
    assert setting.read(EXPRESS + 0x0C, 4) >> 24 == 5, "port number"
    slot = setting.read(EXPRESS + 0x14, 4)
    assert slot >> 19 == 5, "slot number"
    assert slot & 0x7FFFF == 0, "nothing comes or goes there while a guest runs"
    for offset in (0x10, 0x14, 0x38):
        setting.write(offset, 4, 0xFFFFFFFF)
        assert setting.read(offset, 4) == 0, "no BARs, no ROM"
    assert setting.read(0x3D, 1) == 0, "no interrupt pin"


def test_before_the_guest_does_anything_all_is_open(setting: Setting) -> None:
    assert setting.read(COMMAND, 2) == 7
    assert setting.reached
    assert setting.forwarded == [True, True, True]


def test_it_leads_to_the_buses_the_guest_gives_it(setting: Setting) -> None:
    setting.write(SUBORDINATE, 1, 9)
    setting.write(SECONDARY, 1, 7)
    assert not setting.reached
    assert setting.device.bdf == 0x700
    assert setting.bus.config_read(0x700, 0, 4) == 0x56781234
    assert setting.bus.config_read(0x708, 0, 4) == 0xFFFFFFFF, "there is device 0 alone"
    assert setting.bus.config_read(0x800, 0, 4) == 0xFFFFFFFF, "a bus that nobody has"
    setting.bus.config_write(0x700, 0x3C, 1, 0x55)
    assert setting.device.config.u8(0x3C) == 0x55
    for secondary, subordinate in ((0, 9), (9, 7)):
        setting.write(SECONDARY, 1, secondary)
        setting.write(SUBORDINATE, 1, subordinate)
        assert not any(setting.port.leads_to(number) for number in range(256))
    assert setting.read(0, 4) == 0x34208086, "bus 0 is not behind it"


@pytest.mark.parametrize(
    ("off", "forwarded"),
    [(PORTS, [False, True, True]), (MEMORY, [True, False, False])],
)
def test_nothing_is_passed_on_that_the_command_register_forbids(
    setting: Setting, off: int, forwarded: list[bool]
) -> None:
    setting.write(COMMAND, 2, 7 & ~off)
    assert setting.forwarded == forwarded
    setting.write(COMMAND, 2, 7)
    assert setting.forwarded == [True, True, True]
    assert setting.device.bridge_changes == 2
    assert setting.reached, "configuration space is another matter"


def test_windows_are_the_guests_to_move(setting: Setting) -> None:
    ports, memory, prefetchable = (bar.address for bar in setting.device.bars)
    setting.write(0x1C, 2, 0xF0E0)
    assert setting.forwarded == [False, True, True]
    assert setting.port.forwards(0xE000, 0x2000, io=True)
    assert not setting.port.forwards(0xDFFF, 2, io=True)
    setting.write(MEMORY_BASE, 4, 0xD010_D000)
    assert setting.forwarded == [False, False, True]
    assert setting.port.forwards(0xD000_0000, 0x20_0000, io=False)
    assert not setting.port.forwards(0xD01F_FFFF, 2, io=False)
    setting.write(PREFETCHABLE_BASE + 4, 4, 0x20)
    assert setting.forwarded == [False, False, False], "it begins after its end"
    setting.write(PREFETCHABLE_BASE + 8, 4, 0x20)
    low = prefetchable & 0xFFFFFFFF
    assert setting.port.forwards(0x20_0000_0000 | low, 0x10000, io=False)
    setting.port.reset()
    assert setting.forwarded == [True, True, True]
    assert (ports, memory, prefetchable) == tuple(bar.address for bar in setting.device.bars)


def test_what_is_half_in_a_window_is_not_passed_on(setting: Setting) -> None:
    base = setting.read(MEMORY_BASE, 2) << 16
    assert setting.port.forwards(base, 0x20_0000, io=False)
    assert not setting.port.forwards(base, 0x20_0001, io=False)
    assert not setting.port.forwards(base - 1, 0x1000, io=False)


def test_a_bus_reset_resets_the_device_and_hides_it_meanwhile(setting: Setting) -> None:
    setting.write(BRIDGE_CONTROL, 2, BUS_RESET)
    assert setting.device.bus_resets == 1
    assert not setting.reached
    assert setting.forwarded == [False, False, False]
    assert not setting.read(LINK_STATUS, 2) & LINK_ACTIVE
    setting.write(BRIDGE_CONTROL, 2, BUS_RESET)
    assert setting.device.bus_resets == 1, "it is in reset already"
    setting.write(BRIDGE_CONTROL, 2, 0)
    assert setting.reached
    assert setting.forwarded == [True, True, True]
    assert setting.read(LINK_STATUS, 2) & LINK_ACTIVE
    assert setting.device.bus_resets == 1
    assert setting.device.bridge_changes == 1


def test_a_link_that_is_switched_off_is_down(setting: Setting) -> None:
    setting.write(LINK_CONTROL, 2, LINK_DISABLE)
    assert not setting.reached
    assert setting.device.bus_resets == 1
    assert setting.read(LINK_STATUS, 2) == 0
    assert setting.read(SLOT_STATUS, 2) == PRESENT | LINK_CHANGED, "the device is still there"
    setting.write(SLOT_STATUS, 2, LINK_CHANGED)
    setting.write(LINK_CONTROL, 2, LINK_DISABLE)
    assert setting.read(SLOT_STATUS, 2) == PRESENT
    setting.write(LINK_CONTROL, 2, 0)
    assert setting.reached
    assert setting.read(SLOT_STATUS, 2) == PRESENT | LINK_CHANGED
    setting.port.reset()
    assert setting.read(SLOT_STATUS, 2) == PRESENT


def test_the_link_is_as_the_device_says() -> None:
    device = WithBars()
    device.config.add_capability(0x10, bytes(58), at=0x70)
    device.config.set_u16(0x78, 0x20 | 0x2000)  # 256 bytes a packet
    device.config.set_u16(0x82, 0x1044)  # 16 GT/s, 4 lanes
    setting = Setting(device)
    assert setting.read(LINK_STATUS, 2) & 0x3FF == 0x044
    assert setting.read(EXPRESS + 8, 2) == 0x20
    assert setting.read(EXPRESS + 4, 4) & 7 >= 1, "the port can have such packets"
    assert setting.read(SLOT_STATUS, 2) == PRESENT


def test_a_device_that_knows_no_link_has_the_slowest(setting: Setting) -> None:
    assert setting.read(LINK_STATUS, 2) & 0x3FF == 0x011
    assert setting.read(EXPRESS + 8, 2) == 0


def test_an_empty_slot() -> None:
    setting = Setting(empty=True)
    assert setting.read(LINK_STATUS, 2) == 0
    assert setting.read(SLOT_STATUS, 2) == 0
    assert not setting.reached
    assert not setting.port.forwards(setting.read(MEMORY_BASE, 2) << 16, 4, io=False)
    setting.write(BRIDGE_CONTROL, 2, BUS_RESET)
    setting.write(BRIDGE_CONTROL, 2, 0)
    assert setting.read(LINK_STATUS, 2) == 0


@pytest.fixture
def two() -> tuple[Setting, WithBars]:
    """A device of two functions behind a port, and the second one."""
    setting = Setting()
    second = WithBars((MEM32, 0x1000, False), name="second")
    second.config.set_u16(0, 0x4321)
    setting.port.secondary.add(second, device=0, number=1)
    place(setting.bus.functions, Windows(1 << 30, 40))
    reset_all(setting.bus)
    return setting, second


def test_what_is_left_of_a_device_stays_where_it_is(two: tuple[Setting, WithBars]) -> None:
    """Even without function 0, by which software finds it: whoever uses it goes on."""
    setting, second = two
    setting.device.lost = True
    for change in (setting.port.device_changed, setting.port.reset):
        change()
        assert setting.read(SLOT_STATUS, 2) == PRESENT
        assert setting.read(LINK_STATUS, 2) & LINK_ACTIVE
        assert setting.bus.config_read(0x100, 0, 4) == 0xFFFFFFFF
        assert setting.bus.config_read(0x101, 0, 2) == 0x4321
        assert setting.bus.config_read(0x101, 0x0E, 1) == 0x80, "it is one of several"
        (bar,) = second.bars
        assert setting.port.forwards(bar.address, bar.size, io=False)
    setting.write(BRIDGE_CONTROL, 2, BUS_RESET)
    assert second.bus_resets == 1
    setting.write(BRIDGE_CONTROL, 2, 0)
    second.lost = True
    setting.port.device_changed()
    assert setting.read(SLOT_STATUS, 2) == CHANGED | LINK_CHANGED
    assert not setting.read(LINK_STATUS, 2) & LINK_ACTIVE
    second.lost = False
    setting.port.device_changed()
    assert setting.read(SLOT_STATUS, 2) == PRESENT | CHANGED | LINK_CHANGED
    assert setting.bus.config_read(0x101, 0, 2) == 0x4321


def test_a_device_that_is_lost_as_its_link_is_asked_for(setting: Setting) -> None:
    """Whose loss the port is told of meanwhile, on the same thread."""
    port, device = setting.port, setting.device
    device.lost = True
    port.device_changed()

    def read(_offset: int, size: int) -> int:
        device.lost = True
        port.device_changed()
        return (1 << 8 * size) - 1

    for change in (port.device_changed, port.reset):
        device.lost = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(device, "config_read", read)
            change()
        assert not setting.read(SLOT_STATUS, 2) & PRESENT
        assert not setting.read(LINK_STATUS, 2) & LINK_ACTIVE


def test_no_slot_event_interrupts(setting: Setting) -> None:
    setting.write(SLOT_CONTROL, 2, 0xFFFF)
    assert setting.read(SLOT_CONTROL, 2) == 0x1000, "the link's alone, without an interrupt"
    setting.write(SLOT_STATUS, 2, 0xFFFF)
    assert setting.read(SLOT_STATUS, 2) == PRESENT


def test_reset_is_as_it_was_placed(setting: Setting) -> None:
    before = bytes(setting.port.config.data)
    for offset in range(0, 4096, 4):
        setting.write(offset, 4, 0xFFFFFFFF)
        setting.write(offset, 4, 0)
    assert setting.port.config.data != before
    setting.port.reset()
    assert setting.port.config.data == before
    assert setting.reached


class Registers(RuleBasedStateMachine):
    """A guest that writes anything anywhere into a port and the device behind it."""

    @initialize(empty=st.booleans())
    def begin(self, empty: bool) -> None:
        self.setting = Setting(empty=empty)
        self.empty = empty
        self.constant = self.read_only()

    def read_only(self) -> list[int]:
        port = self.setting.port
        return [
            port.config_read(offset, size)
            for offset, size in ((0, 4), (8, 4), (0x0E, 1), (0x34, 1), (EXPRESS, 4), (0x100, 4))
        ]

    offsets = st.one_of(st.integers(0, 0xFF), st.integers(0, 0xFFF))
    sizes = st.sampled_from([1, 2, 4, 8])
    values = st.one_of(st.sampled_from([0, (1 << 64) - 1]), st.integers(0, (1 << 64) - 1))

    @rule(offset=offsets, size=sizes, value=values)
    def write(self, offset: int, size: int, value: int) -> None:
        self.setting.write(offset, size, value & (1 << 8 * size) - 1)

    @rule(bdf=st.integers(0, 0xFFFF), offset=offsets, size=sizes, value=values)
    def write_anywhere(self, bdf: int, offset: int, size: int, value: int) -> None:
        self.setting.bus.config_write(bdf, offset, size, value & (1 << 8 * size) - 1)

    @rule(
        register=st.sampled_from(
            [
                *((COMMAND, 2), (SECONDARY, 2), (BRIDGE_CONTROL, 2), (LINK_CONTROL, 2)),
                *((0x1C, 2), (MEMORY_BASE, 4), (PREFETCHABLE_BASE, 4), (0x28, 8)),
            ]
        ),
        value=values,
    )
    def write_register(self, register: tuple[int, int], value: int) -> None:
        offset, size = register
        self.setting.write(offset, size, value & (1 << 8 * size) - 1)

    @rule()
    def reset(self) -> None:
        reset_all(self.setting.bus)
        assert self.setting.reached == (not self.empty)

    @invariant()
    def what_is_passed_on_is_what_the_registers_say(self) -> None:
        setting, port = self.setting, self.setting.port
        assert self.read_only() == self.constant
        command = setting.read(COMMAND, 2)
        up = (
            not self.empty
            and not setting.read(BRIDGE_CONTROL, 2) & BUS_RESET
            and not setting.read(LINK_CONTROL, 2) & LINK_DISABLE
        )
        assert bool(setting.read(LINK_STATUS, 2) & LINK_ACTIVE) == up
        number, last = setting.read(SECONDARY, 1), setting.read(SUBORDINATE, 1)
        answers = setting.bus.config_read(number << 8, 0, 4) == 0x56781234
        assert answers == (up and 0 < number <= last)
        windows: list[tuple[bool, int, int]] = []
        if up and command & MEMORY:
            base, limit = setting.read(0x20, 2) & 0xFFF0, setting.read(0x22, 2) & 0xFFF0
            windows.append((False, base << 16, (limit << 16) + 0x10_0000))
            base, limit = setting.read(0x24, 2) & 0xFFF0, setting.read(0x26, 2) & 0xFFF0
            base |= setting.read(0x28, 4) << 16
            limit |= setting.read(0x2C, 4) << 16
            windows.append((False, base << 16, (limit << 16) + 0x10_0000))
        if up and command & PORTS and not self.empty:
            base, limit = setting.read(0x1C, 1) & 0xF0, setting.read(0x1D, 1) & 0xF0
            windows.append((True, base << 8, (limit << 8) + 0x1000))
        for io, start, end in windows:
            if start < end:
                assert port.forwards(start, end - start, io=io)
        for bar in setting.device.bars:
            expected = any(
                io == bar.io and start <= bar.address and bar.address + bar.size <= end
                for io, start, end in windows
            )
            assert port.forwards(bar.address, bar.size, io=bar.io) == expected


TestRegisters = Registers.TestCase
TestRegisters.settings = settings(deadline=None, stateful_step_count=30)


def test_the_device_hears_of_every_change_that_matters(setting: Setting) -> None:
    """And of no other: each would have its BARs looked at, which may take KVM a while."""
    quiet: list[Callable[[], None]] = [
        lambda: setting.write(0x3C, 1, 0xFF),
        lambda: setting.write(SLOT_CONTROL, 2, 0x28),
        lambda: setting.write(0x50, 4, 0xFEE00000),
        lambda: setting.write(SECONDARY, 1, 4),
        lambda: setting.write(COMMAND, 2, 0x407),
        lambda: setting.write(MEMORY_BASE, 2, setting.read(MEMORY_BASE, 2)),
    ]
    for change in quiet:
        change()
    assert setting.device.bridge_changes == 0
    setting.write(MEMORY_BASE, 2, 0xFFF0)
    assert setting.device.bridge_changes == 1


def test_ports_on_one_bus_share_its_numbers() -> None:
    """The first that leads to a number has it, and nothing behind another is lost by that."""
    bus = Bus()
    first, second = WithBars(name="first"), WithBars(name="second")
    second.config.set_u16(0, 0x4321)
    ports: list[RootPort] = [
        behind_port(bus, first, device=1, number=1),
        behind_port(bus, second, device=2, number=2),
    ]
    number_buses(bus)
    reset_all(bus)
    assert bus.config_read(0x100, 0, 2) == 0x1234
    assert bus.config_read(0x200, 0, 2) == 0x4321
    bus.config_write(2 << 3, SECONDARY, 1, 1)
    bus.config_write(2 << 3, SUBORDINATE, 1, 1)
    assert bus.config_read(0x100, 0, 2) == 0x1234
    assert bus.config_read(0x200, 0, 2) == 0xFFFF
    bus.config_write(1 << 3, SECONDARY, 2, 0x0707)
    assert bus.config_read(0x100, 0, 2) == 0x4321
    assert bus.config_read(0x700, 0, 2) == 0x1234
    assert [port.secondary_number for port in ports] == [7, 1]
