# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the kernel tells of a device; what it tells wrongly or not at all shifts nothing."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError, DeviceGone, DeviceInfo, InfoCapability, Interval, RegionInfo
from pyvmm.vfio.kernel import queries
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import BDF, FakeKernel, answer, refuse

PCI = vfio.VFIO_DEVICE_FLAGS_PCI
READ, WRITE = vfio.VFIO_REGION_INFO_FLAG_READ, vfio.VFIO_REGION_INFO_FLAG_WRITE
MMAP, CAPS = vfio.VFIO_REGION_INFO_FLAG_MMAP, vfio.VFIO_REGION_INFO_FLAG_CAPS


def device(flags: int, cap_offset: int = 0) -> vfio.vfio_device_info:
    return vfio.vfio_device_info(24, flags, 9, 5, cap_offset, 0)


def region(flags: int, cap_offset: int = 0) -> vfio.vfio_region_info:
    return vfio.vfio_region_info(32, flags, 2, cap_offset, 0x4000, 2 << 40)


def test_a_device_with_capabilities(kernel: FakeKernel, file: KernelFile) -> None:
    atomics = vfio.vfio_device_info_cap_pci_atomic_comp(
        vfio.vfio_info_cap_header(vfio.VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP, 1, 24 + 16), 3, 0
    )
    chain = bytes(atomics) + struct.pack("=HHI", 0x7777, 2, 0) + b"unknown!"
    info = device(PCI | vfio.VFIO_DEVICE_FLAGS_CAPS, 24)
    kernel.on("VFIO_DEVICE_GET_INFO", answer(info, chain))
    told = queries.device_info(file)
    assert told == DeviceInfo(
        PCI | vfio.VFIO_DEVICE_FLAGS_CAPS,
        9,
        5,
        (
            InfoCapability(vfio.VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP, 1, struct.pack("=II", 3, 0)),
            InfoCapability(0x7777, 2, b"unknown!"),
        ),
    )
    assert told.capability(0x7777) == InfoCapability(0x7777, 2, b"unknown!")
    assert told.capability(1) is None


def test_a_device_without_capabilities(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_INFO", answer(device(PCI, 0xDEAD)))
    assert queries.device_info(file) == DeviceInfo(PCI, 9, 5)


def test_what_is_no_device_says_so(kernel: FakeKernel, file: KernelFile) -> None:
    with pytest.raises(DeviceError, match="this file is no VFIO device"):
        queries.device_info(file)
    kernel.on("VFIO_DEVICE_GET_INFO", refuse(errno.EINVAL))
    with pytest.raises(DeviceError, match="not bound to an iommufd"):
        queries.device_info(file)


def test_a_region_with_capabilities(kernel: FakeKernel, file: KernelFile) -> None:
    header = vfio.vfio_info_cap_header
    sparse = vfio.vfio_region_info_cap_sparse_mmap(
        header(vfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 32 + 32), 1, 0
    )
    area = vfio.vfio_region_sparse_mmap_area(0x1000, 0x2000)
    type = vfio.vfio_region_info_cap_type(
        header(vfio.VFIO_REGION_INFO_CAP_TYPE, 1, 32 + 48), 0x80008086, 1
    )
    msix = header(vfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0)
    chain = bytes(sparse) + bytes(area) + bytes(type) + bytes(msix)
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", answer(region(READ | WRITE | MMAP | CAPS, 32), chain))
    told = queries.region(file, 2)
    assert told.areas == (Interval(0x1000, 0x3000),)
    assert told.type == (0x80008086, 1)
    assert told.msix_mappable
    assert (told.size, told.offset) == (0x4000, 2 << 40)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOTTY, errno.EFAULT])
def test_a_region_that_the_kernel_refuses_keeps_its_index(
    kernel: FakeKernel, file: KernelFile, number: int
) -> None:
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", refuse(number))
    told = queries.region(file, 6)
    assert told == RegionInfo(6, 0, 0, note=told.note)
    assert f"{BDF}: asking for region 6" in told.note
    assert errno.errorcode[number] in told.note


@pytest.mark.parametrize(
    "chain", [struct.pack("=HHI", 1, 1, 32), struct.pack("=HHI", 1, 1, 4), b"short"]
)
def test_a_region_with_a_corrupt_chain_keeps_its_index(
    kernel: FakeKernel, file: KernelFile, chain: bytes
) -> None:
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", answer(region(READ | CAPS, 32), chain))
    told = queries.region(file, 2)
    assert told == RegionInfo(2, 0, 0, note=told.note)
    assert "capability" in told.note


def test_a_missing_vga_region_is_nothing_to_talk_about(
    kernel: FakeKernel, file: KernelFile
) -> None:
    vga = vfio.VFIO_PCI_VGA_REGION_INDEX
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", refuse(errno.EINVAL))
    assert queries.region(file, vga) == RegionInfo(vga, 0, 0)
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", refuse(errno.EIO))
    assert "EIO" in queries.region(file, vga).note


def test_a_device_that_is_gone_has_no_regions(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_REGION_INFO", refuse(errno.ENODEV))
    with pytest.raises(DeviceGone):
        queries.region(file, 0)


def test_interrupts(kernel: FakeKernel, file: KernelFile) -> None:
    size = ctypes.sizeof(vfio.vfio_irq_info)
    flags = vfio.VFIO_IRQ_INFO_EVENTFD | vfio.VFIO_IRQ_INFO_NORESIZE
    kernel.on("VFIO_DEVICE_GET_IRQ_INFO", answer(vfio.vfio_irq_info(size, flags, 2, 33)))
    told = queries.irq(file, 2)
    assert (told.index, told.count) == (2, 33)
    assert told.eventfd
    assert told.noresize
    assert kernel.asked("VFIO_DEVICE_GET_IRQ_INFO") == [struct.pack("=IIII", size, 0, 2, 0)]
    kernel.on("VFIO_DEVICE_GET_IRQ_INFO", refuse(errno.EINVAL))
    assert queries.irq(file, 3) == (3, 0, 0)
    kernel.on("VFIO_DEVICE_GET_IRQ_INFO", refuse(errno.EIO))
    with pytest.raises(DeviceError, match="asking for interrupt kind 3"):
        queries.irq(file, 3)
