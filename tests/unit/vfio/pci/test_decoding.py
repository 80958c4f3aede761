# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mapped BARs go by calls while the device doesn't answer at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.models import testdev
from pyvmm.vfio import DeviceGone, Interval, Mapping, PciDevice
from pyvmm.vfio.pci.conventional import PowerManagement

MAPPED = 0x4000


@pytest.fixture
def calls(model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets in BAR 0 that were accessed by calls."""
    offsets = []
    read, write = model.region_read, model.region_write

    def region_read(index: int, offset: int, size: int) -> bytes:
        if index == 0:
            offsets.append(offset)
        return read(index, offset, size)

    def region_write(index: int, offset: int, data: bytes) -> None:
        if index == 0:
            offsets.append(offset)
        write(index, offset, data)

    monkeypatch.setattr(model, "region_read", region_read)
    monkeypatch.setattr(model, "region_write", region_write)
    return offsets


def _by_register(dev: PciDevice) -> None:
    dev.config.command = 0


def _by_flag(dev: PciDevice) -> None:
    dev.config.memory_enable = False


def _by_byte(dev: PciDevice) -> None:
    dev.config.u8[4] = 0


def _by_bytes(dev: PciDevice) -> None:
    dev.config.write(4, bytes(2))


def _by_sleep(dev: PciDevice) -> None:
    power = dev.config.find(PowerManagement)
    assert power
    power.state = 3


@pytest.mark.parametrize("switch_off", [_by_register, _by_flag, _by_byte, _by_bytes, _by_sleep])
def test_switched_off_they_go_by_calls(
    switch_off: Callable[[PciDevice], None], dev: PciDevice, calls: list[int]
) -> None:
    before = dev.bars[0].map()
    before.u32[MAPPED] = 1
    assert not calls
    switch_off(dev)
    after = dev.bars[0].map()
    for bar in (before, after):
        assert bar.u32[MAPPED] == 1
        bar.u32[MAPPED] = 1
    assert calls == [MAPPED] * 4
    dev.config.memory_enable = True
    power = dev.config.find(PowerManagement)
    assert power
    power.state = 0
    assert before.u32[MAPPED] == after.u32[MAPPED] == 1
    assert len(calls) == 4


def test_what_was_closed_meanwhile_stays_closed(dev: PciDevice) -> None:
    bar = dev.bars[0].map()
    dev.config.command = 0
    bar.close()
    dev.config.memory_enable = True
    with pytest.raises(DeviceGone, match="the mapping is closed"):
        bar.u32[MAPPED]


def test_a_reset_that_switches_off(
    dev: PciDevice, model: testdev.TestDevice, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = dev.bars[0].map()

    def reset() -> None:
        model.config.set_u16(4, 0)
        assert bar.u32[MAPPED] == 0

    monkeypatch.setattr(model, "reset", reset)
    dev.reset()
    assert calls == [MAPPED]
    assert bar.u32[MAPPED] == 0
    assert calls == [MAPPED]


def test_one_that_is_mapped_while_the_device_is_closed(
    dev: PciDevice, model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep a device of the host open, for as long as anybody has it."""
    made: list[Mapping] = []
    map_region = model.map_region

    def closing(index: int, area: Interval) -> Mapping:
        made.append(map_region(index, area))
        dev.close()
        return made[0]

    monkeypatch.setattr(model, "map_region", closing)
    with pytest.raises(DeviceGone, match="the device was closed"):
        dev.bars[0].map()
    with pytest.raises(ValueError, match="closed mapping"):
        _ = made[0].view
