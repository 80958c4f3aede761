# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Layers on the BARs of an assigned device: they see what is below, which is then trapped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.pci.errors import BadLayer
from pyvmm.pci.handlers import Layer
from pyvmm.vfio import EventFd, Interval, IoEventFd
from tests.unit.pci.conftest import (
    COMMAND,
    MEMORY,
    MSIX_AT,
    Setting,
    device_regions,
    make_device,
)
from tests.unit.pci.fake_device import CONFIG, MSIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.memory import IoHandler


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
