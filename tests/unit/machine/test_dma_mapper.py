# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DmaMapper: RAM and ROM become IOVAs, other devices' BARs don't, and undoing never raises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.machine.dma import DmaMapper
from pyvmm.memory import DEVICE, RAM, ROM, GuestMemory, MemoryRegion
from pyvmm.vfio import DeviceError, DeviceGone, DmaSpace, Interval, ProtocolError, VfioError
from pyvmm.vfio.dma import DmaMapping

MIB = 1 << 20
PAGE = 4096


class Space(DmaSpace):
    """Writes down what it is asked for, and fails if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.mapped: dict[tuple[int, int], tuple[int, int, int, bool]] = {}
        self.error: VfioError | None = None

    @property
    def page_sizes(self) -> int:
        return PAGE

    def iova_ranges(self) -> tuple[Interval, ...]:
        return (Interval(0, 1 << 64),)

    def _map(self, mapping: DmaMapping) -> None:
        if self.error:
            raise self.error
        iova, size, address, fd, offset, _, writable = mapping
        self.mapped[iova, size] = (address, fd, offset, writable)

    def _unmap(self, mapping: DmaMapping) -> None:
        del self.mapped[mapping.iova, mapping.size]
        if self.error:
            raise self.error


@pytest.fixture
def memory(no_leaks: None) -> Iterator[GuestMemory]:
    with GuestMemory(64 * MIB) as memory:
        memory.allocate(0xFFFFF000, PAGE, ROM, "firmware")
        yield memory


@pytest.fixture
def space() -> Space:
    return Space()


def test_ram_and_rom(memory: GuestMemory, space: Space) -> None:
    mapper = DmaMapper(space, lambda _: None)
    memory.add_observer(mapper)
    assert space.mapped == {
        (region.gpa, region.size): (region.host, region.fd, region.offset, not region.readonly)
        for region in memory.regions
    }
    assert [writable for _, _, _, writable in space.mapped.values()] == [True, False]
    memory.remove_observer(mapper)
    assert space.mapped == {}


def test_memory_that_comes_and_goes(memory: GuestMemory, space: Space) -> None:
    mapper = DmaMapper(space, lambda _: None)
    memory.add_observer(mapper)
    before = dict(space.mapped)
    region = memory.allocate(0x1_0000_0000, 4 * MIB, RAM, "more RAM")
    assert space.mapped.keys() - before.keys() == {(0x1_0000_0000, 4 * MIB)}, "with one call"
    memory.remove_region(region)
    assert space.mapped == before
    memory.remove_observer(mapper)


def test_not_the_bars_of_devices(memory: GuestMemory, space: Space) -> None:
    mapper = DmaMapper(space, lambda _: None)
    memory.add_observer(mapper)
    mapped = dict(space.mapped)
    bar = MemoryRegion(0xC0000000, PAGE, host=0x1000, kind=DEVICE, name="BAR")
    memory.add_region(bar)
    assert space.mapped == mapped
    memory.remove_region(bar)
    memory.remove_observer(mapper)
    assert space.mapped == {}


def test_mapping_that_fails(memory: GuestMemory, space: Space) -> None:
    space.error = DeviceError.answered("mapping", 12)
    with pytest.raises(DeviceError):
        memory.add_observer(DmaMapper(space, lambda _: None))
    assert space.mapped == {}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DeviceGone("it hung up"), []),
        (ProtocolError("it lied"), []),
        (DeviceError.answered("unmapping", 16), ["unmapping: EBUSY (Device or resource busy)"]),
    ],
)
def test_unmapping_that_fails(
    memory: GuestMemory, space: Space, error: VfioError, told: list[str]
) -> None:
    """Every region is tried, and whoever tears down goes on."""
    notices: list[str] = []
    mapper = DmaMapper(space, notices.append)
    memory.add_observer(mapper)
    count = len(space.mapped)
    space.error = error
    memory.remove_observer(mapper)
    assert space.mapped == {}
    assert notices == told * count
