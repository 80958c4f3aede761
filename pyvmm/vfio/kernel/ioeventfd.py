# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_IOEVENTFD: an eventfd that makes the kernel write to a device's register."""

from __future__ import annotations

import ctypes
import errno

from ...uapi.vfio import (
    VFIO_DEVICE_IOEVENTFD_8,
    VFIO_DEVICE_IOEVENTFD_16,
    VFIO_DEVICE_IOEVENTFD_32,
    VFIO_DEVICE_IOEVENTFD_64,
    vfio_device_ioeventfd,
)
from ..errors import DeviceError
from .kernel_file import KernelFile

_SIZES = {
    1: VFIO_DEVICE_IOEVENTFD_8,
    2: VFIO_DEVICE_IOEVENTFD_16,
    4: VFIO_DEVICE_IOEVENTFD_32,
    8: VFIO_DEVICE_IOEVENTFD_64,
}
NONE = -1


def assign(file: KernelFile, offset: int, size: int, value: int, eventfd: int) -> None:
    """Have eventfd write value, of size bytes, at offset in the device's file; NONE ends it.

    Raises DeviceError: EINVAL outside of BARs, in the MSI-X table, or for a size of 8 on kernels
    that can't, EEXIST if there is one already, ENODEV if there is none to end.
    """
    doing = f"writing {value:#x} ({size} bytes) at file offset {offset:#x} by eventfd"
    if size not in _SIZES or not 0 <= value < 1 << 8 * size or not 0 <= offset < 1 << 63:
        what = f"{file.name}: {doing}"
        fitting = "use 1, 2, 4 or 8 bytes and a value that fits"
        raise DeviceError.answered(what, errno.EINVAL, fitting)
    request = vfio_device_ioeventfd(
        ctypes.sizeof(vfio_device_ioeventfd), _SIZES[size], offset, value, eventfd
    )
    cure = {
        errno.EINVAL: "only registers in BARs can be written so, not the MSI-X table, and on "
        "older kernels no 8 bytes at once",
        errno.EEXIST: "this write has an eventfd already: remove it first",
        errno.ENODEV: "this write has no eventfd",
        errno.ENOSPC: "the device has as many as the kernel allows: remove some",
        errno.EBADF: "the eventfd is not open",
    }
    file.ioctl("VFIO_DEVICE_IOEVENTFD", request, doing=doing, cures=cure)
