# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""GuestMemory: layout, accessors, observers, and what it leaves behind."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import threading

import pytest

from pyvmm.memory import (
    DEVICE,
    RAM,
    ROM,
    BadGuestAddress,
    GuestMemory,
    GuestMemoryError,
    MemoryRegion,
    OutOfHostMemory,
    Overlap,
    layout,
)

MIB = layout.MIB
GIB = layout.GIB


class Recorder:
    """An observer that keeps what it was told, and can fail on one region, or to let one go."""

    def __init__(self, refuse: str = "", keep: str = "") -> None:
        self.refuse = refuse
        self.keep = keep
        self.held: list[MemoryRegion] = []

    def region_added(self, region: MemoryRegion) -> None:
        if region.name == self.refuse:
            raise RuntimeError(region.name)
        self.held.append(region)

    def region_removed(self, region: MemoryRegion) -> None:
        if region.name == self.keep:
            raise RuntimeError(f"keeping {region.name}")
        self.held.remove(region)


def device_region(gpa: int, size: int = 0x1000, name: str = "bar") -> MemoryRegion:
    return MemoryRegion(gpa, size, host=0, kind=DEVICE, name=name)


def test_ram_is_split_around_the_hole() -> None:
    with GuestMemory(5 * GIB) as memory:
        low, high = memory.regions
        assert (low.gpa, low.size, low.offset) == (0, layout.LOW_RAM_LIMIT, 0)
        assert (high.gpa, high.size) == (4 * GIB, 2 * GIB)
        assert high.offset == layout.LOW_RAM_LIMIT
        assert low.fd == high.fd
        memory.write(4 * GIB, b"high")
        assert memory.read(4 * GIB, 4) == b"high"
        with pytest.raises(BadGuestAddress):
            memory.read(layout.LOW_RAM_LIMIT, 1)


def test_small_ram_is_one_region() -> None:
    with GuestMemory(MIB) as memory:
        assert [(region.gpa, region.size) for region in memory.regions] == [(0, MIB)]


@pytest.mark.parametrize(
    ("gpa", "size"), [(-1, 1), (0, -1), (MIB - 1, 2), (MIB, 1), (1 << 64, 8), (0, MIB + 1)]
)
def test_accessors_are_bounded(gpa: int, size: int) -> None:
    with GuestMemory(MIB) as memory:
        with pytest.raises(BadGuestAddress):
            memory.read(gpa, size)
        with pytest.raises(BadGuestAddress):
            memory.view(gpa, size)


def test_a_write_that_does_not_fit_writes_nothing() -> None:
    with GuestMemory(MIB) as memory:
        with pytest.raises(BadGuestAddress):
            memory.write(MIB - 2, b"abcd")
        assert memory.read(MIB - 2, 2) == b"\0\0"


def test_accesses_cross_adjoining_regions_and_nothing_else() -> None:
    with GuestMemory(MIB) as memory:
        memory.allocate(MIB, 0x1000, ROM, "rom")
        memory.write(MIB - 2, b"abcd")
        assert memory.read(MIB - 2, 4) == b"abcd"
        with pytest.raises(BadGuestAddress):
            memory.view(MIB - 2, 4)
        memory.add_region(device_region(MIB + 0x1000))
        with pytest.raises(BadGuestAddress):
            memory.read(MIB + 0xFFF, 2)


def test_what_is_there_is_reached_while_the_map_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From any thread, at any point of the change."""
    seen = []

    def look(region: MemoryRegion) -> int:
        seen.append((memory.read(0, 4), bytes(memory.view(0, 4)), len(memory.regions)))
        return region.gpa

    with GuestMemory(MIB) as memory:
        memory.write(0, b"here")
        region = device_region(16 * MIB)
        monkeypatch.setattr("pyvmm.memory.guest_memory._by_address", look)
        memory.add_region(region)
        memory.remove_region(region)
        assert set(seen) == {(b"here", b"here", 1)}
        assert len(memory.regions) == 1


def test_the_map_is_looked_at_while_an_observer_takes_its_time() -> None:
    """Whom it waits for may have to look for itself: a server that does DMA, say."""
    seen: list[bytes] = []

    class Slow(Recorder):
        def region_added(self, region: MemoryRegion) -> None:
            super().region_added(region)
            other = threading.Thread(target=lambda: seen.append(memory.read(0, 4)), daemon=True)
            other.start()
            other.join(10)

    with GuestMemory(MIB) as memory:
        memory.write(0, b"here")
        slow = Slow()
        memory.add_observer(slow)
        assert seen == [b"here"]
        memory.remove_observer(slow)


def test_ram_is_the_memfd_other_processes_get() -> None:
    with GuestMemory(MIB) as memory:
        (ram,) = memory.regions
        memory.view(0x1000, 5)[:] = b"hello"
        with mmap.mmap(ram.fd, ram.size, offset=ram.offset) as other:
            assert other[0x1000:0x1005] == b"hello"


def test_nobody_can_shrink_guest_ram() -> None:
    with GuestMemory(MIB) as memory, pytest.raises(PermissionError):
        os.ftruncate(memory.regions[0].fd, 0)


def test_nobody_can_seal_it_against_others() -> None:
    with GuestMemory(MIB) as memory, pytest.raises(PermissionError):
        fcntl.fcntl(memory.regions[0].fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_observers_follow_every_change() -> None:
    with GuestMemory(MIB) as memory:
        recorder = Recorder()
        memory.add_observer(recorder)
        bar = device_region(layout.MMIO32_START)
        memory.add_region(bar)
        rom = memory.allocate(layout.FIRMWARE_LIMIT - 0x1000, 0x1000, ROM, "rom")
        assert [region.kind for region in recorder.held] == [RAM, DEVICE, ROM]
        memory.remove_region(bar)
        assert bar not in recorder.held
        memory.remove_region(rom)
        assert [region.kind for region in recorder.held] == [RAM]
        memory.remove_observer(recorder)
        assert recorder.held == []


def test_an_observer_that_refuses_leaves_all_as_it_was() -> None:
    with GuestMemory(MIB) as memory:
        willing, refusing = Recorder(), Recorder(refuse="bar")
        memory.add_observer(willing)
        memory.add_observer(refusing)
        with pytest.raises(RuntimeError):
            memory.add_region(device_region(layout.MMIO32_START))
        assert len(willing.held) == len(refusing.held) == len(memory.regions) == 1
        with pytest.raises(RuntimeError):
            memory.add_observer(Recorder(refuse="low RAM"))
        memory.remove_observer(willing)
        memory.remove_observer(refusing)


def test_what_an_observer_does_not_let_go_of_stays() -> None:
    with GuestMemory(MIB) as memory:
        keeping, other = Recorder(keep="bar"), Recorder()
        memory.add_observer(keeping)
        memory.add_observer(other)
        bar = device_region(layout.MMIO32_START)
        memory.add_region(bar)
        with pytest.raises(RuntimeError, match="keeping bar"):
            memory.remove_region(bar)
        assert bar in memory.regions
        assert bar in keeping.held
        assert bar not in other.held, "the others are asked all the same"
        with pytest.raises(Overlap):
            memory.add_region(device_region(layout.MMIO32_START, name="next"))
        with pytest.raises(RuntimeError, match="keeping bar"):
            memory.remove_observer(keeping)
        assert keeping.held == [bar], "of the rest it lets go"
        other.held.append(bar)
        memory.remove_observer(other)


def test_memory_that_an_observer_keeps_stays_mapped() -> None:
    with GuestMemory(MIB) as memory:
        keeping = Recorder(keep="rom")
        memory.add_observer(keeping)
        rom = memory.allocate(16 * MIB, 0x1000, ROM, "rom")
        with pytest.raises(RuntimeError, match="keeping rom"):
            memory.remove_region(rom)
        memory.write(16 * MIB, b"there")
        refusing = Recorder(refuse="rom")
        keeping.keep = ""
        memory.remove_region(rom)
        memory.add_observer(refusing)
        keeping.keep = "rom"
        with pytest.raises(RuntimeError, match=r"^rom"):
            memory.allocate(16 * MIB, 0x1000, ROM, "rom")
        memory.write(16 * MIB, b"there")
        keeping.keep = ""
        refusing.held.append(memory.regions[-1])
        memory.remove_observer(refusing)
        memory.remove_observer(keeping)


def test_overlaps_are_refused() -> None:
    with GuestMemory(MIB) as memory:
        with pytest.raises(Overlap, match="low RAM"):
            memory.add_region(device_region(MIB - 0x1000))
        with pytest.raises(Overlap):
            memory.allocate(0, 0x1000, ROM, "rom")


def test_closing_under_an_observer_is_an_error() -> None:
    memory = GuestMemory(MIB)
    recorder = Recorder()
    memory.add_observer(recorder)
    with pytest.raises(GuestMemoryError):
        memory.close()
    memory.remove_observer(recorder)
    memory.close()
    memory.close()


def test_more_than_the_host_has_is_refused_with_both_sizes() -> None:
    with pytest.raises(OutOfHostMemory, match="more than the host's"):
        GuestMemory(1 << 50)


def test_missing_huge_pages_are_named_with_the_cure() -> None:
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(OutOfHostMemory, match="nr_hugepages"):
        GuestMemory(host & ~0x1FFFFF, "hugetlb-2M")


def test_transparent_huge_pages_can_be_asked_for() -> None:
    with GuestMemory(4 * MIB, "thp") as memory:
        memory.write(2 * MIB, b"x")
        assert memory.read(2 * MIB, 1) == b"x"


def test_nothing_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with GuestMemory(MIB) as memory:
            memory.allocate(16 * MIB, 0x1000, ROM, "rom")
            view = memory.view(0, 16)
        del memory
        view.release()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    with open("/proc/self/maps") as maps:
        assert "guest-ram" not in maps.read()


@pytest.mark.parametrize(
    ("ram", "bits", "start", "end"),
    [
        (MIB, 39, 4 * GIB, 512 * GIB),
        (3 * GIB, 39, 4 * GIB, 512 * GIB),
        (3 * GIB + 1, 39, 5 * GIB, 512 * GIB),
        (8 * GIB, 46, 9 * GIB, 9 * GIB + (1 << 40)),
        (8 * GIB, 32, 9 * GIB, 9 * GIB),
    ],
)
def test_the_window_for_64_bit_bars(ram: int, bits: int, start: int, end: int) -> None:
    assert layout.mmio64_window(ram, bits) == (start, end)
