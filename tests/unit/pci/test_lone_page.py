# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""BARs smaller than a page: mapped while they have their guest page for themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from pyvmm.memory import DEVICE, AddressMap, GuestMemory, MemoryRegion
from pyvmm.pci.bar_mapping import BarMapping
from pyvmm.pci.bars import MEM32, Bar
from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.handlers import Layer
from pyvmm.vfio import DeviceError, Interval, Mapping
from tests.unit.pci.conftest import COMMAND, MEMORY, Setting, device_regions
from tests.unit.pci.fake_device import FakeDevice
from tests.unit.pci.fake_vm import FakeVm

Make = Callable[..., Setting]
PAGE = 0x1000
PLACE = 0xD0000000
SMALL, OTHER = 0x100, 0x80


class HostDevice(FakeDevice):
    """BARs 0 and 1 are smaller than a page, which each has for itself on the host."""

    owns = True

    def owns_page(self, index: int) -> bool:
        return self.owns


def small_device(owns: bool = True) -> HostDevice:
    device = HostDevice()
    device.owns = owns
    for index, size in enumerate((SMALL, OTHER)):
        device.add_region(index, size, register=0, mappable=(Interval(0, size),))
    return device


@pytest.fixture
def setting(make: Make) -> Setting:
    setting = make(small_device())
    setting.write(COMMAND, 2, MEMORY)
    return setting


def test_each_has_a_page_at_first(setting: Setting) -> None:
    one, two = (bar.address for bar in setting.function.bars)
    assert device_regions(setting) == [(one, PAGE), (two, PAGE)]


def test_others_pages_are_not_theirs(make: Make) -> None:
    """What a server has behind the end of a region is its own memory."""
    setting = make(small_device(owns=False))
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == []
    setting.device.contents[0][4] = 7
    assert setting.load(setting.function.bars[0].address + 4, 1) == 7


def test_only_the_start_of_a_page_can_be_mapped(setting: Setting) -> None:
    setting.write(0x10, 4, PLACE + SMALL)
    assert len(device_regions(setting)) == 1
    setting.device.contents[0][4] = 7
    assert setting.load(PLACE + SMALL + 4, 1) == 7
    assert setting.load(PLACE + 4, 1) == 0xFF
    setting.write(0x10, 4, PLACE)
    assert (PLACE, PAGE) in device_regions(setting)


@pytest.mark.parametrize("beside", [SMALL, PAGE - OTHER])
def test_a_neighbour_has_it_trapped(setting: Setting, beside: int) -> None:
    setting.write(0x10, 4, PLACE)
    setting.write(0x14, 4, PLACE + beside)
    assert device_regions(setting) == []
    setting.device.contents[0][4], setting.device.contents[1][4] = 7, 8
    assert setting.load(PLACE + 4, 1) == 7
    assert setting.load(PLACE + beside + 4, 1) == 8
    assert setting.load(PLACE + SMALL + OTHER + 4, 1) == 0xFF, "between them there is nothing"
    assert setting.function.guard.counts == {}
    setting.write(0x14, 4, PLACE + PAGE)
    assert device_regions(setting) == [(PLACE + PAGE, PAGE)], "alone again, and found so when moved"
    setting.write(COMMAND, 2, 0)
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == [(PLACE, PAGE), (PLACE + PAGE, PAGE)]


def test_who_comes_second_is_trapped_too(setting: Setting) -> None:
    setting.write(0x14, 4, PLACE + SMALL)
    setting.write(0x10, 4, PLACE)
    assert device_regions(setting) == []


def test_two_at_one_address(setting: Setting) -> None:
    setting.write(0x10, 4, PLACE)
    setting.write(0x14, 4, PLACE)
    assert setting.function.guard.counts == {"BARs on top of something else": 1}
    setting.device.contents[0][4] = 7
    assert setting.load(PLACE + 4, 1) == 7, "who was first stays, if not mapped"


def test_ram_in_the_same_page(setting: Setting) -> None:
    """There is none that a BAR could be beside: RAM is whole pages."""
    setting.write(0x10, 4, 0x100000)
    assert setting.function.guard.counts == {"BARs on top of something else": 1}
    assert len(device_regions(setting)) == 1
    assert setting.load(0x100000, 4) == 0xFFFFFFFF


def test_a_layer_has_all_of_it_trapped(make: Make) -> None:
    setting = make(small_device(), layers=[Layer(0, Interval(0x40, 0x44), lambda below: below)])
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == [(setting.function.bars[1].address, PAGE)]


def test_a_page_that_can_not_be_mapped_after_all(make: Make) -> None:
    class Device(HostDevice):
        def region_fd(self, index: int) -> int:
            raise DeviceError("no file", 19)

    device = Device()
    device.add_region(0, SMALL, register=0, mappable=(Interval(0, SMALL),))
    setting = make(device)
    setting.write(COMMAND, 2, MEMORY)
    assert device_regions(setting) == []
    assert setting.load(setting.function.bars[0].address, 4) == 0


class Neighbours:
    """Two BARs, whose owners' locks know nothing of each other, in one guest."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.memory = GuestMemory(1 << 20)
        space = AddressMap("MMIO")
        config = ConfigSpace()
        self.fd = os.memfd_create("BAR")
        os.truncate(self.fd, PAGE)
        self.bars = [
            BarMapping(
                Bar(config, index, MEM32, SMALL),
                f"BAR {index}",
                space.unclaimed,
                space,
                memory=self.memory,
                mapped=[(0, Mapping(self.fd, 0, PAGE))],
                vm=FakeVm(),
                failed=lambda kind, _: self.failures.append(kind),
            )
            for index in range(2)
        ]

    def are_mapped(self) -> bool:
        return any(region.kind == DEVICE for region in self.memory.regions)

    def close(self) -> None:
        for bar in self.bars:
            bar.close()
        self.memory.close()
        os.close(self.fd)


def test_neighbours_that_come_and_go_at_once(no_leaks: None) -> None:
    neighbours = Neighbours()
    one, two = neighbours.bars

    def come_and_go(bar: BarMapping, address: int) -> None:
        for turn in range(300):
            bar.move(address if turn % 3 else None)

    threads = [
        threading.Thread(target=come_and_go, args=arguments)
        for arguments in ((one, PLACE), (two, PLACE + SMALL))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (one.address, two.address) == (PLACE, PLACE + SMALL)
    assert not neighbours.are_mapped()
    for bar in neighbours.bars:
        bar.move(None)
    assert not neighbours.are_mapped()
    one.move(PLACE)
    assert neighbours.are_mapped()
    two.move(PLACE + SMALL)
    assert not neighbours.are_mapped()
    assert neighbours.failures == []
    neighbours.close()


def test_a_page_that_memory_refuses(setting: Setting) -> None:
    blocker = MemoryRegion(PLACE, PAGE, host=0, kind=DEVICE, name="blocker")
    setting.memory.add_region(blocker)
    setting.write(0x10, 4, PLACE)
    assert setting.function.guard.counts == {"BARs on top of something else": 1}
    setting.memory.remove_region(blocker)
