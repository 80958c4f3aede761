# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VFIO device behind a root port: the guest reaches of it what the port lets through."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pyvmm.memory import layout
from pyvmm.pci.bars import MEM32
from pyvmm.pci.errors import BadDevice
from pyvmm.vfio import DeviceError, DeviceGone
from tests.unit.pci.conftest import (
    COMMAND,
    DEVICE_CONTROL,
    IO,
    MASTER,
    MEMORY,
    Setting,
    dead,
    device_regions,
    make_device,
    make_express_device,
)
from tests.unit.pci.fake_device import CONFIG, INTX
from tests.unit.pci.functions import WithBars

MEMORY_BASE, PREFETCHABLE_BASE, SECONDARY, BRIDGE_CONTROL = 0x20, 0x24, 0x18, 0x3E
BUS_RESET = 0x40
CACHE_LINE = 0x0C
ERRORS = (0x108, 0x10C, 0x114, 0x118)
"""Of advanced error reporting: masks, severity, control."""
LINK_STATUS, SLOT_STATUS = 0x58 + 0x12, 0x58 + 0x1A
LINK_ACTIVE, PRESENT = 0x2000, 0x40
CHANGED = 0x108
"""The device has come or gone, and the link with it."""
CLOSED = 0x0000_FFF0


@pytest.fixture
def setting(make: Callable[..., Setting]) -> Setting:
    return make(behind=True)


def test_it_works_as_on_bus_0(setting: Setting) -> None:
    assert setting.function.bdf == 0x100
    assert setting.read(0, 4) == 0x56781234
    setting.write(COMMAND, 2, IO | MEMORY)
    registers, ports, buffer, tiny, _ = (bar.address for bar in setting.function.bars)
    setting.device.contents[4][0:4] = b"\x11\x22\x33\x44"
    assert setting.load(tiny, 4) == 0x44332211
    assert device_regions(setting) == [
        (registers, 0x1000),
        (registers + 0x2000, 0x6000),
        (buffer + 0x2000, 0xE000),
    ]
    assert layout.IO_START <= ports < layout.IO_START + 0x1000


def test_its_pin_goes_where_the_port_is(make: Callable[..., Setting]) -> None:
    """INTB of device 0 behind device 3 is INTB of device 3."""
    here, behind = make(), make(behind=True)
    assert behind.read(0x3C, 2) == here.read(0x3C, 2) == 0x0200 | 16 + (3 + 1) % 4
    assert ("irqfd", 16) in behind.vm.log


def test_a_closed_window_hides_bars_until_it_is_open_again(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    registers, _, buffer, tiny, _ = (bar.address for bar in setting.function.bars)
    window = setting.bus.config_read(3 << 3, MEMORY_BASE, 4)
    everything = device_regions(setting)
    setting.device.contents[4][0:4] = b"\x11\x22\x33\x44"

    setting.write_port(MEMORY_BASE, 4, CLOSED)
    assert device_regions(setting) == [(buffer + 0x2000, 0xE000)]
    assert setting.load(tiny, 4) == 0xFFFFFFFF
    setting.store(tiny, 4, 0)
    setting.write_port(MEMORY_BASE, 4, window)
    assert device_regions(setting) == everything
    assert setting.load(tiny, 4) == 0x44332211
    setting.write_port(PREFETCHABLE_BASE, 4, CLOSED)
    assert all(gpa < registers + 0x8000 for gpa, _ in device_regions(setting))


def test_bars_that_leave_the_window_are_found_there_when_it_follows(setting: Setting) -> None:
    setting.write(0x20, 4, 0xD0000000)  # the tiny one
    setting.write(COMMAND, 2, MEMORY)
    assert setting.load(0xD0000000, 4) == 0xFFFFFFFF
    setting.write_port(MEMORY_BASE, 4, 0xD000_D000)
    setting.device.contents[4][0:4] = b"\x11\x22\x33\x44"
    assert setting.load(0xD0000000, 4) == 0x44332211


def test_its_address_does_not_matter_to_it(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    regions = device_regions(setting)
    setting.write_port(SECONDARY, 4, 0x0909_00)
    assert setting.function.bdf == 0x900
    assert setting.read(COMMAND, 2) == MEMORY
    assert device_regions(setting) == regions


def test_a_bus_reset_is_one_of_the_device(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY | MASTER)
    setting.device.log.clear()
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    assert ("reset",) in setting.device.log
    assert device_regions(setting) == []
    setting.write_port(BRIDGE_CONTROL, 2, 0)
    assert setting.read(COMMAND, 2) == 0
    assert [setting.read(0x10 + 4 * i, 4) for i in range(6)] == [0, 1, 0xC, 0, 0, 0]
    assert setting.device.kinds[INTX].enabled
    assert setting.function.guard.counts == {}


def test_after_a_bus_reset_it_works_again_when_the_guest_has_restored_it(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    regions = device_regions(setting)
    bars = [setting.read(0x10 + 4 * i, 4) for i in range(6)]
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    setting.write_port(BRIDGE_CONTROL, 2, 0)
    for i, bar in enumerate(bars):
        setting.write(0x10 + 4 * i, 4, bar)
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == regions


def test_a_bus_reset_of_what_can_not_be_reset_is_counted(make: Callable[..., Setting]) -> None:
    device = make_device()
    device.info = device.info._replace(flags=0)
    setting = make(device, behind=True)
    setting.write(COMMAND, 2, MEMORY)
    for value in (BUS_RESET, 0, BUS_RESET, 0):
        setting.write_port(BRIDGE_CONTROL, 2, value)
    assert ("reset",) not in device.log
    assert setting.function.guard.counts == {"bus resets failed": 2}
    assert ["it has none" in report for report in setting.reports] == [True]
    assert [setting.read(0x10 + 4 * i, 4) for i in range(6)] == [0, 1, 0xC, 0, 0, 0]


def test_a_bus_reset_after_which_it_does_not_answer(setting: Setting) -> None:
    dead(setting.device)
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    assert setting.function.guard.counts == {"bus resets failed": 1}
    assert "does not answer after its reset" in setting.reports[0]


def test_bus_resets_while_other_processors_use_the_device(setting: Setting) -> None:
    """Nobody waits for another for good, and all is as the last reset left it."""
    address = setting.function.bars[0].address
    end = threading.Event()
    errors: list[BaseException] = []

    def use() -> None:
        try:
            while not end.is_set():
                setting.write(0x10, 4, address)
                setting.write(COMMAND, 2, MEMORY)
                setting.load(address + 0x1000, 4)
                setting.store(address + 0x1800, 4, 0xFEE00000)
        except BaseException as error:
            errors.append(error)

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for value in (BUS_RESET, 0) * 100:
        setting.write_port(BRIDGE_CONTROL, 2, value)
    end.set()
    for user in users:
        user.join(30)
    assert errors == []
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    assert device_regions(setting) == []
    assert setting.function.guard.counts == {}


@pytest.mark.parametrize(
    "error", [DeviceError("it can't be reset", 5), DeviceGone("the server died"), BadDevice("odd")]
)
def test_a_bus_reset_that_fails_is_not_the_guests_trouble(
    setting: Setting, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset() -> None:
        raise error

    monkeypatch.setattr(setting.device, "reset", reset)
    for value in (BUS_RESET, 0, BUS_RESET, 0):
        setting.write_port(BRIDGE_CONTROL, 2, value)
    assert setting.reports == ([str(error)] if not isinstance(error, DeviceGone) else [])
    assert bool(setting.function.guard.gone) == isinstance(error, DeviceGone)


def test_a_lost_device_stays_lost_whatever_the_port_does(setting: Setting) -> None:
    setting.write(COMMAND, 2, MEMORY)
    setting.function.lost(DeviceGone("the server died"))
    window = setting.bus.config_read(3 << 3, MEMORY_BASE, 4)
    setting.write_port(MEMORY_BASE, 4, CLOSED)
    setting.write_port(MEMORY_BASE, 4, window)
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    setting.write_port(BRIDGE_CONTROL, 2, 0)
    assert device_regions(setting) == []
    assert setting.read(0, 4) == 0xFFFFFFFF


def test_a_device_that_is_lost_leaves_an_empty_slot(make: Callable[..., Setting]) -> None:
    """And it is there again, with its link, when another one has taken its place."""
    setting = make(make_express_device(), behind=True)
    (port,) = setting.bus.bridges

    def slot() -> tuple[int, int]:
        return port.config_read(SLOT_STATUS, 2), port.config_read(LINK_STATUS, 2)

    present, link = slot()
    assert present == PRESENT
    assert link & LINK_ACTIVE
    setting.function.lost(DeviceGone("it is gone"))
    assert slot() == (CHANGED, 0)
    port.config_write(SLOT_STATUS, 2, CHANGED)
    assert slot() == (0, 0)
    port.reset()
    assert slot() == (0, 0)
    assert setting.read(0, 4) == 0xFFFFFFFF
    setting.function.guard.gone = None
    port.device_changed()
    assert slot() == (PRESENT | CHANGED, link)
    port.device_changed()
    assert slot() == (PRESENT | CHANGED, link)


def test_a_function_that_is_lost_leaves_the_others(make: Callable[..., Setting]) -> None:
    setting = make(make_express_device(), behind=True)
    (port,) = setting.bus.bridges
    other = WithBars((MEM32, 0x1000, False))
    port.secondary.add(other, device=0, number=1)
    setting.function.lost(DeviceGone("it is gone"))
    assert port.config_read(SLOT_STATUS, 2) == PRESENT
    assert setting.read(0, 4) == 0xFFFFFFFF
    assert setting.bus.config_read(setting.function.bdf + 1, 0, 4) == 0x56781234
    other.lost = True
    port.device_changed()
    assert port.config_read(SLOT_STATUS, 2) == CHANGED


@pytest.mark.parametrize("by_port", [False, True], ids=["function", "bus"])
def test_a_reset_puts_back_what_was_written(make: Callable[..., Setting], by_port: bool) -> None:
    """Elsewhere, too, where VFIO keeps it over the device's reset."""
    setting = make(make_express_device(), behind=True)

    def registers() -> tuple[int, int]:
        return setting.read(CACHE_LINE, 1), setting.read(DEVICE_CONTROL, 2)

    before = registers()
    setting.write(CACHE_LINE, 1, 0x10)
    setting.write(DEVICE_CONTROL, 2, 0x5020)
    assert registers() != before
    if by_port:
        setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
        setting.write_port(BRIDGE_CONTROL, 2, 0)
    else:
        setting.write(DEVICE_CONTROL, 2, 0xD020)
    assert registers() == before


def test_what_is_put_back_is_written_as_a_processor_could(
    make: Callable[..., Setting],
) -> None:
    """No access to configuration space is larger than 4 bytes."""
    setting = make(make_express_device(extended=[(0x0001, 0x100)]), behind=True)
    before = [setting.read(offset, 4) for offset in ERRORS]
    for offset in ERRORS:
        setting.write(offset, 4, 0x00400000)
    setting.device.accesses.clear()
    setting.write_port(BRIDGE_CONTROL, 2, BUS_RESET)
    setting.write_port(BRIDGE_CONTROL, 2, 0)
    accesses = [one for one in setting.device.accesses if one[:2] == ("write", CONFIG)]
    written = [(offset, size) for _, _, offset, _, size in accesses]
    assert [setting.read(offset, 4) for offset in ERRORS] == before
    assert {(offset, 4) for offset in ERRORS} <= set(written)
    assert all(size <= 4 and not offset % size for offset, size in written), written
