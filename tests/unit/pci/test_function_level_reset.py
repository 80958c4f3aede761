# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets of an assigned function: those that the guest asks for, and what each puts back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.vfio import DeviceError, DeviceGone
from tests.unit.pci.conftest import (
    COMMAND,
    DEVICE_CONTROL,
    EXPRESS_AT,
    IO,
    MASTER,
    MEMORY,
    MSI_AT,
    MSIX_AT,
    NO_INTX,
    PM_CONTROL,
    Setting,
    dead,
    device_regions,
    make_device,
    make_express_device,
)
from tests.unit.pci.fake_device import INTX, FakeDevice

Make = Callable[..., Setting]
AF_AT = 0xE0
AF_CONTROL = AF_AT + 4


class Watched(FakeDevice):
    """Looks around while it is being reset."""

    setting: Setting | None = None
    fails: Exception | None = None

    def reset(self) -> None:
        super().reset()
        if self.fails:
            raise self.fails
        if self.setting is not None:
            assert device_regions(self.setting) == []
            assert not self.config[COMMAND] & (MEMORY | IO | MASTER)
            assert not any(kind.enabled for kind in self.kinds.values())


@pytest.fixture
def used(make: Make) -> Setting:
    """A function with both ways of reset, in use."""
    device = make_express_device(Watched)
    assert isinstance(device, Watched)
    device.add_capability(AF_AT, b"\x13\0\6\3\0\0")
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY | IO | MASTER | NO_INTX)
    setting.write(0x3C, 1, 0x55)
    setting.write(MSIX_AT + 2, 2, 0x8000)
    table = setting.function.bars[0].address + 0x1800
    setting.store(table, 8, 0xFEE00000)
    setting.store(table + 12, 4, 0)
    assert len(setting.vm.irqfds) == 1
    device.log.clear()
    device.setting = setting
    return setting


def resets(setting: Setting) -> int:
    return setting.device.log.count(("reset",))


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (DEVICE_CONTROL, 2, 0xA810),
        (DEVICE_CONTROL, 4, 0x0000A810),
        (DEVICE_CONTROL + 1, 1, 0xA8),
        (AF_CONTROL, 1, 1),
        (AF_CONTROL, 2, 1),
    ],
)
def test_the_guest_resets_the_function(used: Setting, offset: int, size: int, value: int) -> None:
    used.device.config[DEVICE_CONTROL + 1] = 0x21
    used.write(offset, size, value)
    assert resets(used) == 1
    assert used.read(COMMAND, 2) == 0
    assert used.device.config[COMMAND : COMMAND + 2] == b"\0\0"
    assert [used.read(0x10 + 4 * i, 4) for i in range(6)] == [0, 1, 0xC, 0, 0, 0]
    assert used.read(MSIX_AT + 2, 2) == 15
    assert [gsi for gsi, _ in used.vm.irqfds.values()] == [16], "INTx, as at first"
    assert used.device.kinds[INTX].enabled
    assert used.read(0x3C, 1) == 0x55
    assert used.read(DEVICE_CONTROL + 1, 1) & 0x80 == 0, "it always reads as zero"
    assert used.read(AF_CONTROL, 1) == 0
    assert not used.device.config[DEVICE_CONTROL + 1] & 0x80, "the device doesn't see it"
    assert used.device.config[AF_CONTROL] == 0
    assert used.function.guard.counts == {}


def test_it_is_in_use_again_when_the_guest_has_restored_it(used: Setting) -> None:
    bars = [used.read(0x10 + 4 * i, 4) for i in range(6)]
    before = device_regions(used)
    used.write(DEVICE_CONTROL, 2, 0x8000)
    for i, bar in enumerate(bars):
        used.write(0x10 + 4 * i, 4, bar)
    used.device.accesses.clear()
    used.write(COMMAND, 2, MEMORY)
    assert device_regions(used) == before
    assert len(used.device.accesses) == 7, "it is told anew where they are"
    table = used.function.bars[0].address + 0x1800
    assert used.load(table, 8) == 0, "its vectors are those of a device that was switched on"
    assert used.load(table + 12, 4) == 1


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (DEVICE_CONTROL, 2, 0x7FFF),
        (DEVICE_CONTROL, 1, 0xFF),
        (EXPRESS_AT + 4, 4, 0xFFFFFFFF),
        (AF_CONTROL, 1, 0xFE),
        (AF_CONTROL + 1, 1, 0xFF),
    ],
)
def test_other_bits_reset_nothing(used: Setting, offset: int, size: int, value: int) -> None:
    used.write(offset, size, value)
    assert resets(used) == 0
    assert len(device_regions(used)) == 3


def test_a_reset_that_fails_is_told(used: Setting) -> None:
    assert isinstance(used.device, Watched)
    used.device.fails = DeviceError("resetting fake: EAGAIN", 11)
    used.write(DEVICE_CONTROL, 2, 0x8000)
    used.write(DEVICE_CONTROL, 2, 0x8000)
    assert used.function.guard.counts == {"function-level resets failed": 2}
    assert used.reports == ["resetting fake: EAGAIN"]
    assert used.read(COMMAND, 2) == 0, "as far as the guest can tell, it was"


def test_a_device_that_dies_of_it_is_lost(used: Setting) -> None:
    assert isinstance(used.device, Watched)
    used.device.fails = DeviceGone("the server died")
    used.write(DEVICE_CONTROL, 2, 0x8000)
    assert used.function.guard.gone is used.device.fails
    assert used.read(0, 4) == 0xFFFFFFFF
    assert used.vm.irqfds == {}


def test_advanced_features_without_reset(make: Make) -> None:
    device = make_device()
    device.add_capability(AF_AT, b"\x13\0\6\1\0\0")
    setting = make(device)
    setting.write(AF_CONTROL, 1, 1)
    assert device.log.count(("reset",)) == 1


def test_a_reset_of_the_machine_puts_back_what_the_guest_has_written(make: Make) -> None:
    device = make_express_device(extended=[(1, 0x100)])
    device.config[0x0C:0x0E] = 0x10, 0x00
    device.config[0x108:0x11C] = bytes(range(20))
    at_first = bytes(device.config)
    setting = make(device)
    for offset, size, value in (
        (0x0C, 2, 0x4040),
        (COMMAND, 2, 0x0147),
        (MSI_AT + 2, 2, 0x41),
        (DEVICE_CONTROL, 2, 0x50FF),
        (EXPRESS_AT + 0x28, 2, 0x0041),
        (PM_CONTROL, 2, 0x0603),
        (0x108, 4, 0xFFFFFFFF),
        (0x10C, 4, 0xFFFFFFFF),
        (0x114, 4, 0xFFFFFFFF),
        (0x118, 4, 0xFFFFFFFF),
    ):
        setting.write(offset, size, value)
        assert setting.read(offset, size) != int.from_bytes(at_first[offset : offset + size])
    setting.function.reset()
    changed = [at for at in range(4096) if device.config[at] != at_first[at]]
    # The BARs it was told, PME that was on, and what is the guest's in command.
    assert {at for at in changed if not 0x10 <= at < 0x34} == {PM_CONTROL + 1}
    device.accesses.clear()
    setting.function.reset()
    assert len([each for each in device.accesses if each[0] == "write"]) == 3, "once is enough"


def test_one_after_which_it_does_not_answer(make: Make) -> None:
    class Dying(FakeDevice):
        dies = False

        def reset(self) -> None:
            super().reset()
            if self.dies:
                dead(self)

    device = make_express_device(Dying)
    setting = make(device)
    device.dies = True  # type: ignore[attr-defined]
    setting.write(DEVICE_CONTROL, 2, 0x8000)
    assert setting.function.guard.counts == {"function-level resets failed": 1}
    assert "does not answer after its reset" in setting.reports[0]
