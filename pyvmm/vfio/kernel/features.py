# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_FEATURE: what some devices and kernels can do beyond the rest.

Migration and DMA logging have modules of their own; the small features are here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from ...uapi import vfio
from ..errors import DeviceError
from ..intervals import Interval
from .kernel_file import Cures, KernelFile

if TYPE_CHECKING:
    from uuid import UUID

_HEADER = struct.Struct("=II")  # argsz, flags
_DMA_BUF = struct.Struct("=IIII")  # region_index, open_flags, flags, nr_ranges
_RANGE = struct.Struct("=QQ")  # offset, length


class Feature(IntEnum):
    """VFIO_DEVICE_FEATURE_*."""

    PCI_VF_TOKEN = vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN
    MIGRATION = vfio.VFIO_DEVICE_FEATURE_MIGRATION
    MIG_DEVICE_STATE = vfio.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
    LOW_POWER_ENTRY = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
    LOW_POWER_ENTRY_WITH_WAKEUP = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
    LOW_POWER_EXIT = vfio.VFIO_DEVICE_FEATURE_LOW_POWER_EXIT
    DMA_LOGGING_START = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_START
    DMA_LOGGING_STOP = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP
    DMA_LOGGING_REPORT = vfio.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT
    MIG_DATA_SIZE = vfio.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
    BUS_MASTER = vfio.VFIO_DEVICE_FEATURE_BUS_MASTER
    DMA_BUF = vfio.VFIO_DEVICE_FEATURE_DMA_BUF
    MIG_PRECOPY_INFOv2 = vfio.VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2
    ZPCI_ERROR = vfio.VFIO_DEVICE_FEATURE_ZPCI_ERROR


class Access(IntFlag):
    """What can be done with a feature; nothing, if the device doesn't have it."""

    GET = vfio.VFIO_DEVICE_FEATURE_GET
    SET = vfio.VFIO_DEVICE_FEATURE_SET


_NONE: Cures = {}
# What a device that hasn't a feature is told by.
_LACKING = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP)
_WHY_LACKING = {
    Feature.PCI_VF_TOKEN: "only SR-IOV physical functions have one",
    Feature.MIGRATION: "it takes a variant driver made for the device, such as mlx5_vfio_pci",
    Feature.LOW_POWER_ENTRY: "it takes Linux 6.1",
    Feature.LOW_POWER_ENTRY_WITH_WAKEUP: "it takes Linux 6.1",
    Feature.LOW_POWER_EXIT: "it takes Linux 6.1",
    Feature.DMA_LOGGING_START: "it takes a variant driver made for the device",
    Feature.BUS_MASTER: "a PCI function's is bit 2 of the command register in config space",
    Feature.DMA_BUF: "it takes Linux 6.19 with CONFIG_VFIO_PCI_DMABUF",
}


class Features:
    """The features of one device."""

    def __init__(self, file: KernelFile) -> None:
        self._file = file

    @property
    def name(self) -> str:
        """The device's, for messages."""
        return self._file.name

    def probe(self, feature: int) -> Access:
        """What can be done with a feature. Raises VfioError for what is no answer to that."""
        return Access(sum(access for access in Access if self._probe(feature, access)))

    def _probe(self, feature: int, access: Access) -> bool:
        try:
            self._call(vfio.VFIO_DEVICE_FEATURE_PROBE | access, feature, b"", "probing")
        except DeviceError as e:
            if e.errno not in _LACKING:
                raise
            return False
        return True

    def supported(self) -> dict[Feature, Access]:
        """The features that the device has."""
        probed = {feature: self.probe(feature) for feature in Feature}
        return {feature: access for feature, access in probed.items() if access}

    def get(self, feature: int, data: bytes, *, cures: Cures = _NONE) -> bytes:
        """Have the kernel fill in a feature's structure, beginning with data."""
        return self._call(vfio.VFIO_DEVICE_FEATURE_GET, feature, data, "getting", cures)[1]

    def set(self, feature: int, data: bytes = b"", *, cures: Cures = _NONE) -> bytes:
        """Give the kernel a feature's structure; tells what the kernel has made of it."""
        return self._call(vfio.VFIO_DEVICE_FEATURE_SET, feature, data, "setting", cures)[1]

    def _call(
        self, flags: int, feature: int, data: bytes, verb: str, cures: Cures = _NONE
    ) -> tuple[int, bytes]:
        named = feature in set(Feature)
        doing = f"{verb} feature {Feature(feature).name if named else feature}"
        size = _HEADER.size + len(data)
        buffer = ctypes.create_string_buffer(_HEADER.pack(size, feature | flags) + data, size)

        def explain(number: int) -> str | None:
            if number in (errno.ENOTTY, errno.EOPNOTSUPP):
                lacking = "the device or its driver hasn't got it"
                why = _WHY_LACKING.get(Feature(feature)) if named else None
                return f"{lacking}: {why}" if why else lacking
            return cures(number) if callable(cures) else cures.get(number)

        result = self._file.ioctl("VFIO_DEVICE_FEATURE", buffer, doing=doing, cures=explain)
        return result, buffer.raw[_HEADER.size :]

    def set_vf_token(self, token: UUID) -> None:
        """Set the secret that whoever opens a virtual function of this one must know."""
        self.set(Feature.PCI_VF_TOKEN, token.bytes)

    def enter_low_power(self, wakeup: int = -1) -> None:
        """Let the device sleep. Don't touch its mappings until exit_low_power(): SIGBUS.

        Any other access wakes it for a moment. With an eventfd as wakeup, it wakes for good when
        the host wakes it, and signals so.
        """
        cure = {errno.EINVAL: "it is in low power already, or wakeup is no eventfd"}
        if wakeup < 0:
            self.set(Feature.LOW_POWER_ENTRY, cures=cure)
        else:
            entry = vfio.vfio_device_low_power_entry_with_wakeup(wakeup, 0)
            self.set(Feature.LOW_POWER_ENTRY_WITH_WAKEUP, bytes(entry), cures=cure)

    def exit_low_power(self) -> None:
        """Wake the device, if it isn't awake."""
        self.set(Feature.LOW_POWER_EXIT)

    def set_bus_master(self, on: bool) -> None:
        """Let a device that has no config space (CDX) do DMA, or not."""
        op = vfio.VFIO_DEVICE_FEATURE_SET_MASTER if on else vfio.VFIO_DEVICE_FEATURE_CLEAR_MASTER
        self.set(Feature.BUS_MASTER, bytes(vfio.vfio_device_feature_bus_master(op)))

    def dma_buf(self, index: int, areas: Sequence[Interval], *, writable: bool = True) -> int:
        """A dma-buf of page-aligned areas of a BAR, for others' DMA; the caller closes the fd."""
        flags = os.O_CLOEXEC | (os.O_RDWR if writable else os.O_RDONLY)
        try:
            request = _DMA_BUF.pack(index, flags, 0, len(areas))
            request += b"".join(_RANGE.pack(area.start, area.size) for area in areas)
        except struct.error:
            what = f"{self.name}: a dma-buf of {areas} of region {index}"
            raise DeviceError.answered(what, errno.EINVAL) from None
        cure = {
            errno.EINVAL: "the areas must be whole pages within a BAR of memory",
            errno.ENODEV: f"region {index} is no BAR",
        }
        flags = vfio.VFIO_DEVICE_FEATURE_GET
        return self._call(flags, Feature.DMA_BUF, request, "getting", cure)[0]
