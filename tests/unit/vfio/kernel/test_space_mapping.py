# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is mapped in the kernel's DMA spaces, and why something can't be."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from pyvmm.uapi import iommufd, vfio
from pyvmm.vfio import DeviceError, Interval
from pyvmm.vfio.kernel import (
    KernelSpace,
    open_space,
)
from tests.unit.vfio.kernel.made_spaces import ADDRESS, ALL, DISK, NIC, PAGE
from tests.unit.vfio.kernel.made_vfio import APERTURE, MSI, MadeVfio


def test_mapping_and_rights(space: KernelSpace, made: MadeVfio) -> None:
    with space.open_device(NIC):
        space.map(0x10000, PAGE, address=ADDRESS)
        space.map(0x20000, PAGE, address=ADDRESS, writable=False)
        space.map(0x30000, PAGE, address=ADDRESS, readable=False)
        rights = [flags for _, (_, flags) in sorted(made.mapped.items())]
        if space.backend == "iommufd":
            r, w = iommufd.IOMMU_IOAS_MAP_READABLE, iommufd.IOMMU_IOAS_MAP_WRITEABLE
            assert rights == [iommufd.IOMMU_IOAS_MAP_FIXED_IOVA | f for f in (r | w, r, w)]
        else:
            r, w = vfio.VFIO_DMA_MAP_FLAG_READ, vfio.VFIO_DMA_MAP_FLAG_WRITE
            assert rights == [r | w, r, w]
        space.unmap(0x20000, PAGE)
        assert sorted(made.mapped) == [Interval(0x10000, 0x11000), Interval(0x30000, 0x31000)]
        before = len(made.log)
        space.unmap_all()
        assert made.mapped == {}
        assert len(made.log) == before + 1


def test_mappings_outlive_devices_and_come_before_them(space: KernelSpace, made: MadeVfio) -> None:
    space.map(0x10000, PAGE, address=ADDRESS, writable=False)
    for bdf in (NIC, DISK):
        with space.open_device(bdf):
            space.map(0x20000, PAGE, address=ADDRESS)
            assert sorted(made.mapped) == [Interval(0x10000, 0x11000), Interval(0x20000, 0x21000)]
            assert made.mapped[Interval(0x10000, 0x11000)][1] != 3
        space.unmap(0x20000, PAGE)
    assert space.mappings == (Interval(0x10000, 0x11000),)


def test_what_the_space_is(space: KernelSpace) -> None:
    with space.open_device(NIC):
        assert space.page_size == PAGE
        assert space.iova_ranges() == (Interval(0, MSI.start), Interval(MSI.end, APERTURE))
        free = space.entries_available
        with space.alloc(PAGE):
            if free is None:
                assert space.backend == "iommufd"
            else:
                assert space.entries_available == free - 1
        assert (space.dirty is None) == (space.backend in ("iommufd", "type1"))


@pytest.mark.parametrize(
    ("iova", "size", "address", "why"),
    [
        (0x10001, PAGE, ADDRESS, "the IOVA 0x10001 is not a multiple of the page size 0x1000"),
        (0x10000, 100, ADDRESS, "the size 0x64"),
        (0x10000, PAGE, ADDRESS + 8, "the address 0x7f0000000008"),
        (0x10000, 0, ADDRESS, "not a positive number"),
        (0x10000, -PAGE, ADDRESS, "not a positive number"),
        (-PAGE, PAGE, ADDRESS, "64 bits"),
        ((1 << 64) - PAGE, 2 * PAGE, ADDRESS, "64 bits"),
        (MSI.start, PAGE, ADDRESS, r"\[0xfee00000, 0xfef00000\) is the MSI window of group 14"),
        (MSI.start - PAGE, 2 * PAGE, ADDRESS, "the MSI window of group 14; map around it"),
        (APERTURE, PAGE, ADDRESS, r"out of the IOMMU's reach, which is \[0x0, 0xfee00000\) and"),
    ],
)
def test_why_it_can_not_be_mapped(
    space: KernelSpace, made: MadeVfio, iova: int, size: int, address: int, why: str
) -> None:
    with space.open_device(NIC):
        with pytest.raises(DeviceError, match=why) as caught:
            space.map(iova, size, address=address)
        assert caught.value.errno == errno.EINVAL
        assert f"mapping IOVA {iova:#x}+{size:#x}: " in str(caught.value)
    assert made.mapped == {}
    assert space.mappings == ()


def test_neither_readable_nor_writable(space: KernelSpace) -> None:
    with pytest.raises(DeviceError, match="neither read nor write"):
        space.map(0, PAGE, address=ADDRESS, readable=False, writable=False)


def test_a_file_alone_is_mapped(space: KernelSpace, made: MadeVfio) -> None:
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 4 * PAGE)
    os.pwrite(fd, b"ram!", PAGE)
    space.map(0x10000, PAGE, address=0, fd=fd, offset=PAGE)
    os.close(fd)
    with space.open_device(NIC):
        (address, _), *_ = made.mapped.values()
        assert ctypes.string_at(address, 4) == b"ram!"
        space.unmap(0x10000, PAGE)
        assert not _memfds()
        fd = os.memfd_create("small")
        with pytest.raises(DeviceError, match="needs 0x1000 bytes of a file that has 0x0"):
            space.map(0x10000, PAGE, address=0, fd=fd)
        os.close(fd)


def _memfds() -> list[str]:
    return [
        line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:ram" in line
    ]


@pytest.mark.parametrize("backend", ALL)
def test_a_file_is_let_go_where_unmapping_fails(made: MadeVfio, backend: str) -> None:
    """Or the next one at its IOVA would be mapped from the memory of this one."""
    call = "IOMMU_IOAS_UNMAP" if backend == "iommufd" else "VFIO_IOMMU_UNMAP_DMA"
    fd = os.memfd_create("memory")
    os.ftruncate(fd, PAGE)
    try:
        with open_space(backend, root=made.root) as space, space.open_device(NIC):
            before = len(Path("/proc/self/maps").read_text().splitlines())
            space.map(0x10000, PAGE, address=0, fd=fd)
            made.failures[call] = errno.EIO
            with pytest.raises(DeviceError, match="EIO"):
                space.unmap(0x10000, PAGE)
            assert "memfd:memory" not in Path("/proc/self/maps").read_text()
            assert len(Path("/proc/self/maps").read_text().splitlines()) <= before
    finally:
        os.close(fd)


@pytest.mark.parametrize("backend", ["type1v2", "iommufd"])
def test_limits_are_told_with_numbers(
    made: MadeVfio, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = "IOMMU_IOAS_MAP" if backend == "iommufd" else "VFIO_IOMMU_MAP_DMA"
    monkeypatch.setattr("pyvmm.vfio.kernel.locked_memory.may_lock_anything", lambda: False)
    monkeypatch.setattr("resource.getrlimit", lambda which: (8 << 20, 8 << 20))
    with open_space(backend, root=made.root) as space, space.open_device(NIC):
        made.failures[call] = errno.ENOMEM
        with pytest.raises(
            DeviceError,
            match=r"takes 16384 KiB of locked memory, and of RLIMIT_MEMLOCK's 8192 KiB \d+ KiB are",
        ):
            space.map(0x10000, 16 << 20, address=ADDRESS)
        made.failures[call] = errno.ENOSPC
        with pytest.raises(DeviceError, match=r"dma_entry_limit\) is reached with 0: map fewer"):
            space.map(0x10000, PAGE, address=ADDRESS)
        monkeypatch.setattr("pyvmm.vfio.kernel.locked_memory.may_lock_anything", lambda: True)
        made.failures[call] = errno.ENOMEM
        with pytest.raises(DeviceError, match="has not that much memory to lock"):
            space.map(0x10000, PAGE, address=ADDRESS)
        assert space.mappings == ()


@pytest.mark.parametrize("backend", ALL)
def test_bad_memory_is_told(made: MadeVfio, backend: str) -> None:
    call = "IOMMU_IOAS_MAP" if backend == "iommufd" else "VFIO_IOMMU_MAP_DMA"
    with open_space(backend, root=made.root) as space, space.open_device(NIC):
        made.failures[call] = errno.EFAULT
        with pytest.raises(DeviceError, match=r"EFAULT .*there is no memory at address 0x1000"):
            space.map(0x10000, PAGE, address=0x1000)
        code = Path("/proc/self/maps").read_text().splitlines()
        readonly = next(int(line.split("-")[0], 16) for line in code if " r--p " in line)
        made.failures[call] = errno.EFAULT
        with pytest.raises(DeviceError, match=r"is read-only: map it with writable=False"):
            space.map(0x10000, PAGE, address=readonly)
