# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Asking the kernel what a device is: its info, regions and interrupts."""

from __future__ import annotations

import ctypes
import errno

from ...uapi import vfio
from .. import region_info
from ..capability_chain import InfoCapability, walk
from ..device import DeviceInfo, IrqInfo, RegionInfo
from ..errors import DeviceError, ProtocolError
from .kernel_file import KernelFile

_DEVICE_INFO_SIZE = ctypes.sizeof(vfio.vfio_device_info)


def device_info(file: KernelFile) -> DeviceInfo:
    """VFIO_DEVICE_GET_INFO, with its capabilities. Raises VfioError."""
    question = bytes(_DEVICE_INFO_SIZE)
    cure = {
        errno.ENOTTY: "this file is no VFIO device",
        errno.EINVAL: "the device is not bound to an iommufd yet",
    }
    answer = file.ask("VFIO_DEVICE_GET_INFO", question, doing="asking for the device", cures=cure)
    info = vfio.vfio_device_info.from_buffer_copy(answer)
    capabilities: tuple[InfoCapability, ...] = ()
    if info.flags & vfio.VFIO_DEVICE_FLAGS_CAPS:
        capabilities = walk(answer, info.cap_offset, _DEVICE_INFO_SIZE, f"{file.name}: device info")
    return DeviceInfo(info.flags, info.num_regions, info.num_irqs, capabilities)


def region(file: KernelFile, index: int) -> RegionInfo:
    """VFIO_DEVICE_GET_REGION_INFO, with its capabilities.

    A region that the kernel won't tell about has size 0, and a note why, unless it is just not
    there. Raises DeviceGone.
    """
    question = region_info.INFO.pack(0, 0, index, 0, 0, 0)
    doing = f"asking for region {index}"
    try:
        answer = file.ask("VFIO_DEVICE_GET_REGION_INFO", question, doing=doing)
        return region_info.parse(answer)
    except (DeviceError, ProtocolError) as e:
        # Devices other than VGA adapters have no such region, and that is how it is told.
        no_vga = (
            index == vfio.VFIO_PCI_VGA_REGION_INDEX
            and isinstance(e, DeviceError)
            and e.errno == errno.EINVAL
        )
        return RegionInfo(index, 0, 0, note="" if no_vga else str(e))


def irq(file: KernelFile, index: int) -> IrqInfo:
    """VFIO_DEVICE_GET_IRQ_INFO; a kind that the device can't have has count 0. Raises VfioError."""
    info = vfio.vfio_irq_info(ctypes.sizeof(vfio.vfio_irq_info), 0, index, 0)
    try:
        doing = f"asking for interrupt kind {index}"
        file.ioctl("VFIO_DEVICE_GET_IRQ_INFO", info, doing=doing)
    except DeviceError as e:
        # So it is with ERR of a device that isn't PCI Express.
        if e.errno != errno.EINVAL:
            raise
        return IrqInfo(index, 0, 0)
    return IrqInfo(index, info.flags, info.count)
