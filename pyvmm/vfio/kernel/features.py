# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VFIO_DEVICE_FEATURE of the kernel's devices.

Migration and DMA logging have modules of their own; the small features are here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...uapi import vfio
from ..errors import DeviceError
from ..features import NO_CURES, Access, Cures, Feature, Features, feature_name, find_cure
from ..intervals import Interval
from .kernel_file import KernelFile

if TYPE_CHECKING:
    from uuid import UUID

_HEADER = struct.Struct("=II")  # argsz, flags
_DMA_BUF = struct.Struct("=IIII")  # region_index, open_flags, flags, nr_ranges
_RANGE = struct.Struct("=QQ")  # offset, length


# What a device that hasn't a feature is told by.
_LACKING = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP)
_WHY_LACKING: Mapping[int, str] = {
    Feature.PCI_VF_TOKEN: "only SR-IOV physical functions have one",
    Feature.MIGRATION: "it takes a variant driver made for the device, such as mlx5_vfio_pci",
    Feature.LOW_POWER_ENTRY: "it takes Linux 6.1",
    Feature.LOW_POWER_ENTRY_WITH_WAKEUP: "it takes Linux 6.1",
    Feature.LOW_POWER_EXIT: "it takes Linux 6.1",
    Feature.DMA_LOGGING_START: "it takes a variant driver made for the device",
    Feature.BUS_MASTER: "a PCI function's is bit 2 of the command register in config space",
    Feature.DMA_BUF: "it takes Linux 6.19 with CONFIG_VFIO_PCI_DMABUF",
}


class KernelFeatures(Features):
    """The features of one device of the kernel's."""

    def __init__(self, file: KernelFile) -> None:
        self._file = file

    @property
    def name(self) -> str:
        return self._file.name

    def probe(self, feature: int) -> Access:
        return Access(sum(access for access in Access if self._probe(feature, access)))

    def _probe(self, feature: int, access: Access) -> bool:
        try:
            self._call(vfio.VFIO_DEVICE_FEATURE_PROBE | access, feature, b"", "probing")
        except DeviceError as e:
            if e.errno not in _LACKING:
                raise
            return False
        return True

    def get(self, feature: int, data: bytes, *, cures: Cures = NO_CURES) -> bytes:
        return self._call(vfio.VFIO_DEVICE_FEATURE_GET, feature, data, "getting", cures)[1]

    def set(self, feature: int, data: bytes = b"", *, cures: Cures = NO_CURES) -> bytes:
        return self._call(vfio.VFIO_DEVICE_FEATURE_SET, feature, data, "setting", cures)[1]

    def _call(
        self, flags: int, feature: int, data: bytes, verb: str, cures: Cures = NO_CURES
    ) -> tuple[int, bytes]:
        doing = f"{verb} feature {feature_name(feature)}"
        size = _HEADER.size + len(data)
        buffer = ctypes.create_string_buffer(_HEADER.pack(size, feature | flags) + data, size)

        def explain(number: int) -> str | None:
            if number in (errno.ENOTTY, errno.EOPNOTSUPP):
                lacking = "the device or its driver hasn't got it"
                why = _WHY_LACKING.get(feature)
                return f"{lacking}: {why}" if why else lacking
            return find_cure(cures, number)

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
