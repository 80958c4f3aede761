# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Hot reset: resetting the bus or slot of a function, and with it all that are on it.

The kernel does so only for whoever has them all: by the fds of their groups, or, for devices that
were opened as character devices, because they are bound to the same iommufd.
"""

from __future__ import annotations

import array
import ctypes
import errno
import struct
from collections.abc import Sequence
from typing import NamedTuple

from ...uapi.vfio import (
    VFIO_PCI_DEVID_NOT_OWNED,
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
)
from .. import address
from ..errors import DeviceError
from .kernel_file import KernelFile

_HEADER = struct.Struct("=III")  # argsz, flags, count
_DEVICE = struct.Struct("=IHBB")  # group_id or devid, segment, bus, devfn
_NOT_OWNED = VFIO_PCI_DEVID_NOT_OWNED & 0xFFFFFFFF
_NO_RESET = "neither its bus nor its slot can be reset, as on a root bus"


class DependentDevice(NamedTuple):
    """A function that a hot reset would reset too.

    One of group (the number of its IOMMU group) and devid (what iommufd calls it) is told; devid
    is 0 if it is ours by its group only, and None if it isn't ours, or groups are told.
    """

    bdf: str
    group: int | None
    devid: int | None


class HotResetInfo(NamedTuple):
    """What a hot reset would reset (VFIO_DEVICE_GET_PCI_HOT_RESET_INFO)."""

    flags: int
    devices: tuple[DependentDevice, ...]

    @property
    def by_devid(self) -> bool:
        """The device is bound to an iommufd, and a hot reset takes no group fds."""
        return bool(self.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID)

    @property
    def owned(self) -> bool:
        """By devid: all are bound to the same iommufd, so that a hot reset is allowed."""
        return bool(self.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED)

    @property
    def groups(self) -> frozenset[int]:
        """Not by devid: the groups whose fds a hot reset takes."""
        return frozenset(device.group for device in self.devices if device.group is not None)


def query(file: KernelFile) -> HotResetInfo:
    """Tell what a hot reset would reset. Raises DeviceError: ENODEV where there is none."""
    room = 1
    while True:
        size = _HEADER.size + room * _DEVICE.size
        buffer = ctypes.create_string_buffer(_HEADER.pack(size, 0, 0), size)
        try:
            file.ioctl(
                "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
                buffer,
                doing="asking what a hot reset resets",
                cures={errno.ENODEV: _NO_RESET},
            )
        except DeviceError as e:
            count = _HEADER.unpack_from(buffer)[2]
            # Functions may come while we ask, but never as many as that.
            if e.errno != errno.ENOSPC or not room < count <= 1 << 16:
                raise
            room = count
            continue
        _, flags, count = _HEADER.unpack_from(buffer)
        entries = buffer.raw[_HEADER.size :][: count * _DEVICE.size]
        by_devid = bool(flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID)
        devices = (_device(by_devid, *fields) for fields in _DEVICE.iter_unpack(entries))
        return HotResetInfo(flags, tuple(devices))


def _device(by_devid: bool, number: int, segment: int, bus: int, devfn: int) -> DependentDevice:
    bdf = address.format(segment, bus, devfn)
    if by_devid:
        return DependentDevice(bdf, None, None if number == _NOT_OWNED else number)
    return DependentDevice(bdf, number, None)


def reset(file: KernelFile, group_fds: Sequence[int]) -> None:
    """Reset them all (VFIO_DEVICE_PCI_HOT_RESET); no fds is the form for devices of an iommufd.

    Raises DeviceError: EINVAL names the functions that are not ours.
    """
    fds = array.array("i", group_fds).tobytes()
    request = _HEADER.pack(_HEADER.size + len(fds), 0, len(group_fds)) + fds
    buffer = ctypes.create_string_buffer(request, len(request))

    def cure(number: int) -> str | None:
        if number == errno.EINVAL:
            return _needed(query(file))
        return {
            errno.ENODEV: _NO_RESET,
            errno.EBUSY: "one of the functions is being reset or mapped just now: try again",
            errno.EAGAIN: "the bus is being changed just now: try again",
            errno.EBADF: "a group's fd is not open",
            errno.ENOTTY: "after the reset its bus did not come back in time; the kernel's log "
            "(dmesg) tells more",
        }.get(number)

    file.ioctl("VFIO_DEVICE_PCI_HOT_RESET", buffer, doing="hot reset", cures=cure)


def _needed(info: HotResetInfo) -> str:
    if info.by_devid:
        foreign = [device.bdf for device in info.devices if device.devid is None]
        if foreign:
            return f"bind {', '.join(foreign)} to the same iommufd too, to reset the whole bus"
        return "a device of an iommufd is reset without group fds"
    functions = ", ".join(f"{device.bdf} (group {device.group})" for device in info.devices)
    return f"it needs the fd of each group, once, and no other, of {functions}"
