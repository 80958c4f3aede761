# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Hot reset: who is reset with a device, and both ways to prove that they are all ours."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest

from pyvmm.uapi import vfio
from pyvmm.vfio import DeviceError
from pyvmm.vfio.kernel import hot_reset
from pyvmm.vfio.kernel.hot_reset import DependentDevice
from pyvmm.vfio.kernel.kernel_file import KernelFile
from tests.unit.vfio.kernel.fake_kernel import FakeKernel, Handler, refuse

BY_DEVID = vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID
OWNED = vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED
HEADER = ctypes.sizeof(vfio.vfio_pci_hot_reset_info)


def told(flags: int, *devices: tuple[int, int, int, int]) -> Handler:
    """(group or devid, segment, bus, devfn) of each, if there is room for all of them."""

    def handler(data: memoryview) -> None:
        info = vfio.vfio_pci_hot_reset_info.from_buffer(data)
        info.flags, info.count = flags, len(devices)
        room = (info.argsz - HEADER) // ctypes.sizeof(vfio.vfio_pci_dependent_device)
        if room < len(devices):
            raise OSError(errno.ENOSPC, "")
        for number, (id, segment, bus, devfn) in enumerate(devices):
            size = ctypes.sizeof(vfio.vfio_pci_dependent_device)
            at = HEADER + number * size
            device = vfio.vfio_pci_dependent_device.from_buffer(data, at)
            device.group_id = id & 0xFFFFFFFF
            device.segment, device.bus, device.devfn = segment, bus, devfn

    return handler


def test_groups(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", told(0, (4, 0, 1, 0), (5, 0x10000 >> 4, 1, 9)))
    info = hot_reset.query(file)
    assert info.devices == (
        DependentDevice("0000:01:00.0", 4, None),
        DependentDevice("1000:01:01.1", 5, None),
    )
    assert info.groups == {4, 5}
    assert not info.by_devid
    assert len(kernel.calls) == 2, "room for one, then for all"


def test_devids(kernel: FakeKernel, file: KernelFile) -> None:
    devices = [(7, 0, 1, 0), (vfio.VFIO_PCI_DEVID_OWNED, 0, 1, 1), (-1, 0, 1, 2)]
    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", told(BY_DEVID, *devices))
    info = hot_reset.query(file)
    assert [(device.group, device.devid) for device in info.devices] == [
        (None, 7),
        (None, 0),
        (None, None),
    ]
    assert info.groups == frozenset()
    assert info.by_devid
    assert not info.owned


def test_no_hot_reset_here(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", refuse(errno.ENODEV))
    with pytest.raises(DeviceError, match="neither its bus nor its slot can be reset") as caught:
        hot_reset.query(file)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize("count", [0, 1, 1 << 20, 0xFFFFFFFF])
def test_counts_that_make_no_sense_end_it(kernel: FakeKernel, file: KernelFile, count: int) -> None:
    def handler(data: memoryview) -> None:
        struct.pack_into("=I", data, 8, count)
        raise OSError(errno.ENOSPC, "")

    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", handler)
    with pytest.raises(DeviceError, match="ENOSPC"):
        hot_reset.query(file)
    assert len(kernel.calls) == 1


def test_both_forms(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_PCI_HOT_RESET", lambda data: 0)
    hot_reset.reset(file, [3, 4])
    hot_reset.reset(file, [])
    groups, devids = kernel.asked("VFIO_DEVICE_PCI_HOT_RESET")
    header = vfio.vfio_pci_hot_reset.from_buffer_copy(groups)
    assert (header.argsz, header.flags, header.count) == (len(groups), 0, 2)
    assert groups[ctypes.sizeof(header) :] == struct.pack("=2i", 3, 4)
    assert devids == struct.pack("=III", 12, 0, 0)


@pytest.mark.parametrize(
    ("info", "cure"),
    [
        (told(0, (4, 0, 1, 0), (5, 0, 1, 1)), "0000:01:00.0 (group 4), 0000:01:00.1 (group 5)"),
        (told(BY_DEVID, (1, 0, 1, 0), (-1, 0, 1, 1)), "bind 0000:01:00.1 to the same iommufd too"),
        (told(BY_DEVID | OWNED, (1, 0, 1, 0)), "reset without group fds"),
    ],
)
def test_what_is_missing_is_told(
    kernel: FakeKernel, file: KernelFile, info: Handler, cure: str
) -> None:
    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", info)
    kernel.on("VFIO_DEVICE_PCI_HOT_RESET", refuse(errno.EINVAL))
    with pytest.raises(DeviceError, match="hot reset: VFIO_DEVICE_PCI_HOT_RESET: EINVAL") as caught:
        hot_reset.reset(file, [3])
    assert cure in str(caught.value)


def test_a_cause_that_cannot_be_found_hides_no_error(kernel: FakeKernel, file: KernelFile) -> None:
    kernel.on("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", refuse(errno.EIO))
    kernel.on("VFIO_DEVICE_PCI_HOT_RESET", refuse(errno.EINVAL))
    with pytest.raises(DeviceError, match=r"VFIO_DEVICE_PCI_HOT_RESET: EINVAL \(.*\)$"):
        hot_reset.reset(file, [3])
