# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What every Device has from the base class."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pyvmm.uapi.vfio import VFIO_IRQ_SET_ACTION_TRIGGER
from pyvmm.vfio import (
    Device,
    DeviceError,
    Fds,
    Interval,
    IrqInfo,
    RegionInfo,
)
from tests.unit.vfio.fakes import FakeDevice

BAR0, BAR2 = 0, 2


def test_a_device_with_a_file_can_be_mapped(device: FakeDevice) -> None:
    with Device.map_region(device, BAR2, Interval(0x1000, 0x2000)) as mapping:
        mapping.view[:4] = b"here"
    assert device.region_read(BAR2, 0x1000, 4) == b"here"


@pytest.mark.parametrize(
    ("index", "area"),
    [
        (BAR0, Interval(0, 0x1000)),
        (BAR2, Interval(0, 0x1000)),
        (BAR2, Interval(0x1000, 0x3000)),
        (BAR2, Interval(0x2000, 0x1000)),
        (BAR2, Interval(0x1800, 0x2000)),
    ],
)
def test_only_whole_pages_of_areas_can_be_mapped(
    device: FakeDevice, index: int, area: Interval
) -> None:
    with pytest.raises(DeviceError, match=f"fake: mapping .* of region {index}") as caught:
        Device.map_region(device, index, area)
    assert caught.value.errno == errno.EINVAL


def test_a_region_without_a_file_cannot_be_mapped(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "region_fd", lambda index: -1)
    with pytest.raises(DeviceError, match="no file to map"):
        device.map_region(BAR2, Interval(0x1000, 0x2000))


def test_the_short_ways_to_set_interrupts(device: FakeDevice) -> None:
    device.set_triggers(2, 3, [-1, -1])
    device.disable_irqs(2)
    assert device.irq_calls == [
        (2, VFIO_IRQ_SET_ACTION_TRIGGER, 3, 2, Fds([-1, -1])),
        (2, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, None),
    ]


def test_it_has_no_doorbells_unless_it_says_so(device: FakeDevice) -> None:
    assert Device.ioeventfds(device, BAR0) == ()
    assert Device.region_fd(device, BAR0) == -1


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, set()),
        (1, {"eventfd"}),
        (2, {"maskable"}),
        (4, {"automasked"}),
        (8, {"noresize"}),
        (15, {"eventfd", "maskable", "automasked", "noresize"}),
    ],
)
def test_irq_flags(flags: int, names: set[str]) -> None:
    info = IrqInfo(0, flags, 1)
    found = {n for n in ("eventfd", "maskable", "automasked", "noresize") if getattr(info, n)}
    assert found == names


@pytest.mark.parametrize(
    ("flags", "of"),
    [
        (1, lambda info: info.readable),
        (2, lambda info: info.writable),
        (4, lambda info: info.mappable),
    ],
)
def test_region_flags(flags: int, of: Callable[[RegionInfo], bool]) -> None:
    assert of(RegionInfo(0, flags, 1))
    assert not of(RegionInfo(0, ~flags & 7, 1))
