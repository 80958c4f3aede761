# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA spaces on real kernels: what is mapped devices reach, and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.buffer import SharedMemory
from pyvmm.vfio.features import Feature
from pyvmm.vfio.kernel import Container, Ioas, KernelDevice, KernelSpace, open_space
from pyvmm.vfio.mapping import Mapping
from tests.lab.engines import EDU_REACHES, NVME_VERSION, copy, identify
from tests.lab.privileges import no_right_to_lock
from tests.lab.profiles import TRANSLATED
from tests.lab.registers import BAR0, read32
from tests.lab.written import written

PAGE = mmap.PAGESIZE
MIB, GIB = 1 << 20, 1 << 30
MSI = Interval(0xFEE00000, 0xFEF00000)
FREE = 0x800_0000
"""An IOVA that no test's buffers reach up to, within EDU_REACHES."""

HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
HUGE_PAGES_1G = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")
ENTRY_LIMIT = Path("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit")

GetDevice = Callable[[str], str]

# Without an IOMMU nothing is mapped: test_dma_no_iommu.py.
pytestmark = pytest.mark.backends(*TRANSLATED)


@pytest.fixture
def space(backend: str) -> Iterator[KernelSpace]:
    with open_space(backend) as space:
        yield space


@pytest.fixture
def device(space: KernelSpace, bdf: str) -> Iterator[KernelDevice]:
    with space.open_device(bdf) as device:
        yield device


@pytest.fixture
def edu(space: KernelSpace, lab_device: GetDevice) -> Iterator[KernelDevice]:
    with space.open_device(lab_device("edu")) as edu:
        yield edu


@pytest.fixture
def nvme(space: KernelSpace, lab_device: GetDevice) -> Iterator[KernelDevice]:
    with space.open_device(lab_device("nvme")) as nvme:
        yield nvme


# What a space is, and its book.


def test_what_the_space_is(space: KernelSpace, device: KernelDevice) -> None:
    assert device.dma is space
    assert space.page_size == PAGE
    ranges = space.iova_ranges()
    assert ranges[0].start == 0
    assert ranges[0].end >= EDU_REACHES
    assert not any(MSI.overlaps(usable) for usable in ranges)
    assert ranges[-1].end >= 1 << 39


def test_mapping_and_unmapping(space: KernelSpace, device: KernelDevice) -> None:
    before = space.entries_available
    with SharedMemory(4 * PAGE) as memory:
        space.map(FREE, 2 * PAGE, address=memory.mapping.address)
        space.map(FREE + 2 * PAGE, PAGE, address=memory.mapping.address, writable=False)
        space.map(FREE + 9 * PAGE, PAGE, address=0, fd=memory.fd, offset=3 * PAGE)
        assert len(space.mappings) == 3
        if isinstance(space, Container) and space.backend != "iommufd-compat":
            assert before is not None
            assert space.entries_available == before - 3
        space.unmap(FREE + 2 * PAGE, PAGE)
        space.unmap_all()
        assert not space.mappings
        assert space.entries_available == before
        # The kernel agrees: all of it is free again.
        space.map(FREE, 4 * PAGE, address=memory.mapping.address)
        space.unmap(FREE, 4 * PAGE)


HOSTILE = [
    ("unaligned IOVA", FREE + 8, PAGE, 0, "not a multiple of the page size"),
    ("unaligned size", FREE, PAGE + 8, 0, "not a multiple of the page size"),
    ("unaligned address", FREE, PAGE, 8, "not a multiple of the page size"),
    ("empty", FREE, 0, 0, "not a positive number"),
    ("negative", FREE, -PAGE, 0, "not a positive number"),
    ("before the start", -PAGE, PAGE, 0, "64 bits"),
    ("far before the start", -(1 << 64), PAGE, 0, "64 bits"),
    ("beyond the end", (1 << 64) - PAGE, 2 * PAGE, 0, "64 bits"),
    ("at the end", (1 << 64) - PAGE, PAGE, 0, "out of the IOMMU's reach"),
    ("outside the aperture", 1 << 60, PAGE, 0, "out of the IOMMU's reach"),
    ("the MSI window", MSI.start, PAGE, 0, "the MSI window"),
    ("into the MSI window", MSI.start - PAGE, 2 * PAGE, 0, "the MSI window"),
    ("over the MSI window", 0, MSI.end, 0, "the MSI window"),
]


def test_what_can_not_be_mapped(space: KernelSpace, device: KernelDevice) -> None:
    with SharedMemory(4 * PAGE) as memory:
        for name, iova, size, offset, why in HOSTILE:
            with pytest.raises(DeviceError) as caught:
                space.map(iova, size, address=memory.mapping.address + offset)
            assert why in str(caught.value), name
            assert caught.value.errno in (errno.EINVAL, errno.EOVERFLOW), name
            assert space.mappings == (), name


def test_overlap(space: KernelSpace, device: KernelDevice) -> None:
    with SharedMemory(4 * PAGE) as memory, space.alloc(2 * PAGE, iova=FREE) as buffer:
        for iova, size in ((FREE, PAGE), (FREE - PAGE, 2 * PAGE), (FREE + PAGE, 3 * PAGE)):
            with pytest.raises(DeviceError, match=r"EEXIST.* is mapped already"):
                space.map(iova, size, address=memory.mapping.address)
            with pytest.raises(DeviceError, match=r"ENOENT.* goes as a whole"):
                space.unmap(iova, size)
        assert space.mappings == (Interval.sized(buffer.iova, buffer.size),)


def test_memory_that_is_not_there(space: KernelSpace, device: KernelDevice) -> None:
    with SharedMemory(2 * PAGE) as memory:
        gone = memory.mapping.address
    with pytest.raises(DeviceError, match=rf"EFAULT.*no memory at address {gone:#x}"):
        space.map(FREE, PAGE, address=gone)
    with pytest.raises(DeviceError, match=r"EINVAL|EFAULT|EOVERFLOW"):
        space.map(FREE, PAGE, address=(1 << 64) - PAGE)
    fd = os.memfd_create("read-only")
    os.ftruncate(fd, PAGE)
    with Mapping(fd, 0, PAGE, writable=False) as mapping:
        os.close(fd)
        with pytest.raises(DeviceError, match=r"EFAULT.* is read-only: map it with writable=False"):
            space.map(FREE, PAGE, address=mapping.address)
        space.map(FREE, PAGE, address=mapping.address, writable=False)
        space.unmap(FREE, PAGE)
    assert space.mappings == ()


# DMA.


@pytest.mark.smoke
def test_a_device_reaches_what_is_mapped(space: KernelSpace, edu: KernelDevice) -> None:
    with space.alloc(PAGE) as source, space.alloc(PAGE) as target:
        source.view[:] = os.urandom(PAGE)
        copy(edu, source.iova, target.iova, 4000)
        assert bytes(target.view) == bytes(source.view[:4000]) + bytes(96)
        part = target[0x100:0x110]
        copy(edu, source.iova, part.iova, part.size)
        assert bytes(part.view) == bytes(source.view[:16])


@pytest.mark.smoke
def test_a_device_reaches_nothing_else(space: KernelSpace, edu: KernelDevice) -> None:
    secret = b"not for the device"
    with space.alloc(PAGE) as source, SharedMemory(PAGE) as memory:
        view = memory.mapping.view
        source.view[:8] = b"written!"
        view[: len(secret)] = secret
        # Mapped read-only: it may read, and its writes go nowhere.
        space.map(FREE, PAGE, address=memory.mapping.address, writable=False)
        copy(edu, source.iova, FREE, 8)
        assert bytes(view[: len(secret)]) == secret
        copy(edu, FREE, source.iova, len(secret))
        assert bytes(source.view[: len(secret)]) == secret
        # Not mapped any more.
        space.unmap(FREE, PAGE)
        source.view[:8] = b"written!"
        copy(edu, source.iova, FREE, 8)
        assert bytes(view[: len(secret)]) == secret
        space.map(FREE, PAGE, address=memory.mapping.address)
        copy(edu, source.iova, FREE, 8)
        assert bytes(view[:8]) == b"written!"
        space.unmap(FREE, PAGE)


def test_nor_does_a_drive(space: KernelSpace, nvme: KernelDevice) -> None:
    """It goes on, and QEMU's says that it could."""
    secret = b"not for the device"
    with (
        space.alloc(PAGE) as submissions,
        space.alloc(PAGE) as completions,
        SharedMemory(PAGE) as memory,
    ):
        view = memory.mapping.view
        view[: len(secret)] = secret
        space.map(FREE, PAGE, address=memory.mapping.address, writable=False)
        identify(nvme, submissions, completions, FREE)
        assert bytes(view[: len(secret)]) == secret
        space.unmap(FREE, PAGE)
        identify(nvme, submissions, completions, FREE)
        assert bytes(view[: len(secret)]) == secret
        space.map(FREE, PAGE, address=memory.mapping.address)
        assert identify(nvme, submissions, completions, FREE)
        assert int.from_bytes(view[:2], "little") == 0x1B36
        space.unmap(FREE, PAGE)


def test_mappings_outlive_the_device(space: KernelSpace, lab_device: GetDevice) -> None:
    with space.alloc(PAGE) as early:
        early.view[:5] = b"early"
        for _ in range(2):
            with space.open_device(lab_device("edu")) as edu, space.alloc(PAGE) as late:
                copy(edu, early.iova, late.iova, 5)
                assert bytes(late.view[:5]) == b"early"


def test_two_devices_share_a_space(space: KernelSpace, lab_device: GetDevice) -> None:
    with (
        space.open_device(lab_device("edu")) as edu,
        space.open_device(lab_device("nvme")) as nvme,
        space.alloc(PAGE) as submissions,
        space.alloc(PAGE) as completions,
        space.alloc(PAGE) as target,
        space.alloc(PAGE) as copied,
    ):
        assert identify(nvme, submissions, completions, target.iova)
        copy(edu, target.iova, copied.iova, 256)
        assert bytes(copied.view[:256]) == bytes(target.view[:256])
        assert int.from_bytes(copied.view[:2], "little") == 0x1B36


def read_peer(space: KernelSpace, edu: KernelDevice, iova: int) -> int:
    """Have edu read an NVMe controller's register, without memory in between."""
    with space.alloc(PAGE) as target:
        copy(edu, iova + NVME_VERSION, target.iova, 4)
        return int.from_bytes(target.view[:4], "little")


def test_a_bar_for_peers(space: KernelSpace, edu: KernelDevice, nvme: KernelDevice) -> None:
    with pytest.raises(DeviceError):
        space.map_bar(FREE, nvme, BAR0, Interval(0, 1 << 30))
    # iommufd takes dma-bufs of VFIO's since Linux 7.0, and its imitation of a container none.
    by_dma_buf = space.backend == "iommufd" and nvme.features.probe(Feature.DMA_BUF)
    if not (by_dma_buf or space.backend.startswith("type1")):
        with pytest.raises(DeviceError):
            space.map_bar(FREE, nvme, BAR0, Interval(0, PAGE))
        return
    space.map_bar(FREE, nvme, BAR0, Interval(0, PAGE))
    assert read_peer(space, edu, FREE) == read32(nvme, NVME_VERSION) > 0x10000
    with pytest.raises(DeviceError, match=r"EEXIST.* is mapped already"):
        space.map_bar(FREE, nvme, BAR0, Interval(0, PAGE))
    space.unmap(FREE, PAGE)


def test_a_bar_by_its_address(space: KernelSpace, edu: KernelDevice, nvme: KernelDevice) -> None:
    with nvme.map_region(BAR0, Interval(0, PAGE)) as bar:
        if not space.backend.startswith("type1"):
            with pytest.raises(DeviceError, match=r"maps no BAR by address: use map_bar\(\)"):
                space.map(FREE, PAGE, address=bar.address)
            return
        space.map(FREE, PAGE, address=bar.address)
        assert read_peer(space, edu, FREE) == read32(nvme, NVME_VERSION)
        space.unmap(FREE, PAGE)


# Much memory, and limits.


@pytest.mark.profiles("6.12")
@pytest.mark.proof
def test_a_gibibyte(space: KernelSpace, nvme: KernelDevice) -> None:
    """Of small pages, each of them another one; the first and the last are used."""
    with space.alloc(GIB) as buffer:
        assert len(space.mappings) == 1
        last = buffer[-PAGE:]
        assert identify(nvme, buffer[:PAGE], buffer[PAGE : 2 * PAGE], last.iova)
        assert int.from_bytes(last.view[:2], "little") == 0x1B36


@pytest.mark.profiles("6.1", "newest")
@pytest.mark.backends("type1v2", "iommufd")
def test_the_same_memory_many_times(space: KernelSpace, edu: KernelDevice) -> None:
    """A GiB of IOVAs, also in smaller labs; there are fewer pages behind it."""
    base = FREE
    with SharedMemory(32 * MIB) as memory, _repeated(memory.fd, 32 * MIB, GIB) as address:
        space.map(base, GIB, address=address)
        with space.alloc(PAGE) as source:
            source.view[:4] = b"far!"
            copy(edu, source.iova, base + 3 * 32 * MIB + 123, 4)
        assert bytes(memory.mapping.view[123:127]) == b"far!"
        space.unmap(base, GIB)


@contextlib.contextmanager
def _repeated(fd: int, size: int, total: int) -> Iterator[int]:
    """The address of a file that is mapped again and again, until there are total bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    rights, fixed = mmap.PROT_READ | mmap.PROT_WRITE, 0x10
    address: int = libc.mmap(None, total, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    for at in range(address, address + total, size):
        assert libc.mmap(at, size, rights, mmap.MAP_SHARED | fixed, fd, 0) == at
    try:
        yield address
    finally:
        libc.munmap(address, total)


def test_huge_pages(space: KernelSpace, edu: KernelDevice) -> None:
    with written(HUGE_PAGES, 4):
        with space.alloc(3 * MIB, huge="2M") as source, space.alloc(PAGE) as target:
            assert source.iova % (2 * MIB) == 0
            assert space.mappings[-1].size == 4 * MIB
            source.view[2 * MIB : 2 * MIB + 4] = b"huge"
            copy(edu, source.iova + 2 * MIB, target.iova, 4)
            assert bytes(target.view[:4]) == b"huge"
        with pytest.raises(DeviceError, match=r"it takes 8 free pages and there are 4: echo 4"):
            space.alloc(16 * MIB, huge="2M")


@pytest.mark.profiles("large")
@pytest.mark.proof
def test_a_huge_page_of_a_gibibyte(space: KernelSpace, nvme: KernelDevice) -> None:
    with written(HUGE_PAGES_1G, 1), space.alloc(GIB, huge="1G") as buffer:
        assert buffer.iova % GIB == 0
        last = buffer[-PAGE:]
        assert identify(nvme, buffer[:PAGE], buffer[PAGE : 2 * PAGE], last.iova)
        assert int.from_bytes(last.view[:2], "little") == 0x1B36


def test_the_limit_on_locked_memory(space: KernelSpace, device: KernelDevice) -> None:
    with SharedMemory(MIB) as memory, no_right_to_lock(256 << 10):
        with pytest.raises(
            DeviceError,
            match=r"ENOMEM.*takes 1024 KiB of locked memory, .* RLIMIT_MEMLOCK's 256 KiB \d+ KiB",
        ):
            space.map(FREE, MIB, address=memory.mapping.address)
        space.map(FREE, 64 << 10, address=memory.mapping.address)
        space.unmap(FREE, 64 << 10)


@pytest.mark.backends("type1v2", "type1")
def test_the_limit_on_mappings(backend: str, bdf: str) -> None:
    with (
        written(ENTRY_LIMIT, 3),
        Container(backend) as space,
        space.open_device(bdf),
        contextlib.ExitStack() as buffers,
    ):
        for left in (2, 1, 0):
            buffers.enter_context(space.alloc(PAGE))
            assert space.entries_available == left
        with pytest.raises(
            DeviceError, match=r"ENOSPC.*limit of 3 on mappings.*\(dma_entry_limit\).* with 3: "
        ):
            space.alloc(PAGE)


# Dirty pages.


def test_dirty_pages(space: KernelSpace, edu: KernelDevice) -> None:
    tracking = space.dirty
    if tracking is None:
        assert space.backend != "type1v2"
        pytest.skip("iommufd asks the emulated IOMMU, which tracks none; type1 tracks none at all")
    assert tracking.page_size == PAGE
    with space.alloc(4 * PAGE) as buffer:
        whole = Interval.sized(buffer.iova, buffer.size)
        with pytest.raises(DeviceError, match="has to be started"):
            tracking.report(whole)
        tracking.start()
        assert tracking.report(whole) == (whole,)
        with pytest.raises(DeviceError, match="begin and end where mappings do"):
            tracking.report(Interval(whole.start, whole.start + PAGE))
        tracking.stop()


# iommufd's own.


@pytest.mark.backends("iommufd")
def test_ioas_options(lab_device: GetDevice, backend: str) -> None:
    with Ioas() as space:
        assert space.huge_pages
        space.huge_pages = False
        assert not space.huge_pages
        space.allow_iovas([Interval(MSI.start, MSI.end)])
        with pytest.raises(DeviceError, match=r"attaching .*: EADDRINUSE"):
            space.open_device(lab_device("edu"))
        space.allow_iovas([Interval(0, GIB)])
        with space.open_device(lab_device("edu")) as edu, space.alloc(PAGE) as buffer:
            buffer.view[:4] = b"ioas"
            copy(edu, buffer.iova, buffer.iova + 64, 4)
            assert bytes(buffer.view[64:68]) == b"ioas"
        assert space.iommufd.compat_ioas is None
        space.iommufd.compat_ioas = space.id
        assert space.iommufd.compat_ioas == space.id
