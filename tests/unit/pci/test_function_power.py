# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Power states of an assigned device: its BARs go before it sleeps, and come after it wakes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.vfio import DeviceError
from tests.unit.pci.conftest import (
    COMMAND,
    IO,
    MASTER,
    MEMORY,
    MSIX_AT,
    PM_AT,
    PM_CONTROL,
    Setting,
    device_regions,
    make_device,
    make_express_device,
)
from tests.unit.pci.fake_device import CONFIG, FakeDevice

Make = Callable[..., Setting]
D0, D1, D2, D3 = range(4)


class Sleeper(FakeDevice):
    """Has no memory unless it is in D0, as vfio-pci has it. It knows D0 and D3."""

    regions_then: list[int]
    """How many regions the guest reached at each change of its state."""
    setting: Setting | None = None

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        old = self.config[PM_CONTROL] & 3
        super().region_write(index, offset, data)
        if index == CONFIG and offset <= PM_CONTROL < offset + len(data):
            if self.config[PM_CONTROL] & 3 in (D1, D2):
                self.config[PM_CONTROL] = self.config[PM_CONTROL] & ~3 | old
            if self.setting is not None:
                self.regions_then.append(len(device_regions(self.setting)))

    def _content(self, index: int) -> bytearray:
        if index != CONFIG and self.config[PM_CONTROL] & 3:
            raise DeviceError.answered("reading BARs of a device that sleeps", 5)
        return super()._content(index)


@pytest.fixture
def sleeper(make: Make) -> Setting:
    """In use, awake."""
    device = make_express_device(Sleeper)
    assert isinstance(device, Sleeper)
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY | IO | MASTER)
    device.setting, device.regions_then = setting, []
    return setting


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 2), (0, 4)])
def test_sleeping_and_waking(sleeper: Setting, offset: int, size: int) -> None:
    before = device_regions(sleeper)
    tiny, io = sleeper.function.bars[3].address, sleeper.function.bars[1].address
    sleeper.write(PM_CONTROL + offset, size, D3)
    assert sleeper.read(PM_CONTROL, 2) == D3
    assert device_regions(sleeper) == []
    assert sleeper.load(tiny, 4) == 0xFFFFFFFF
    assert sleeper.ports.lookup(io, 1)[0] == sleeper.ports.unclaimed.read
    assert sleeper.read(COMMAND, 2) == MEMORY | IO | MASTER, "only BARs are gone"
    sleeper.write(PM_CONTROL + offset, size, D0)
    assert device_regions(sleeper) == before
    assert sleeper.load(tiny, 4) == 0
    assert sleeper.function.guard.counts == {}
    device = sleeper.device
    assert isinstance(device, Sleeper)
    assert device.regions_then == [0, 0], "gone before, back after"


def test_what_is_no_state_is_no_change(sleeper: Setting) -> None:
    before = device_regions(sleeper)
    sleeper.write(PM_CONTROL + 1, 1, 0x03)
    sleeper.write(PM_AT, 4, 0xFFFFFFFF)
    assert device_regions(sleeper) == before


@pytest.mark.parametrize("state", [D1, D2])
def test_a_state_that_the_device_has_not(sleeper: Setting, state: int) -> None:
    before = device_regions(sleeper)
    sleeper.write(PM_CONTROL, 2, state)
    assert device_regions(sleeper) == before
    sleeper.write(PM_CONTROL, 2, D3)
    sleeper.write(PM_CONTROL, 2, state)
    assert device_regions(sleeper) == []


def test_a_device_that_refuses_to_be_asked(sleeper: Setting) -> None:
    sleeper.device.refuse = DeviceError("out of order", 5)
    sleeper.write(PM_CONTROL, 2, D3)
    assert device_regions(sleeper) == []
    sleeper.write(PM_CONTROL, 2, D0)
    assert len(device_regions(sleeper)) == 3
    sleeper.device.refuse = None


def test_bars_may_be_moved_in_its_sleep(sleeper: Setting) -> None:
    sleeper.write(PM_CONTROL, 2, D3)
    sleeper.write(0x10, 4, 0xD0000000)
    assert device_regions(sleeper) == []
    sleeper.write(PM_CONTROL, 2, D0)
    assert device_regions(sleeper)[0] == (0xD0000000, 0x1000)


def test_interrupts_stay_as_they_are(sleeper: Setting) -> None:
    sleeper.write(MSIX_AT + 2, 2, 0x8000)
    table = sleeper.function.bars[0].address + 0x1800
    sleeper.store(table, 8, 0xFEE00000)
    sleeper.store(table + 12, 4, 0)
    before = dict(sleeper.vm.irqfds)
    assert len(before) == 1
    sleeper.write(PM_CONTROL, 2, D3)
    sleeper.write(PM_CONTROL, 2, D0)
    assert sleeper.vm.irqfds == before


def test_a_reset_wakes_it(sleeper: Setting) -> None:
    sleeper.write(PM_CONTROL, 2, D3)
    sleeper.function.reset()
    assert sleeper.device.config[PM_CONTROL] & 3 == D0
    sleeper.write(COMMAND, 2, MEMORY)
    assert len(device_regions(sleeper)) == 3


def test_a_device_without_power_management(make: Make) -> None:
    setting = make(make_device())
    setting.write(COMMAND, 2, MEMORY)
    setting.write(PM_CONTROL, 2, D3)
    assert len(device_regions(setting)) == 3
