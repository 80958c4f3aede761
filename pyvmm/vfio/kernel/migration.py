# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The migration of the kernel's devices: streams are files.

Only devices with a driver made for it can, such as mlx5's; see <linux/vfio.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import TypeVar

from ...uapi import vfio
from ..errors import DeviceError
from ..features import Feature
from ..migration import FeatureMigration, MigrationData, PrecopyInfo
from ..migration_states import MigrationState
from .kernel_file import KernelFile

_OVER = "the device has left the states that this stream belongs to"
_T = TypeVar("_T")


class KernelMigrationData(MigrationData):
    """A stream that is a file; it owns the fd."""

    def __init__(self, fd: int, name: str) -> None:
        self._file = KernelFile(fd, name)

    def fileno(self) -> int:
        """For poll(): readable when there is more."""
        return self._file.fileno()

    def read(self, size: int) -> bytes | None:
        try:
            return self._call("read", lambda fd: os.read(fd, size))
        except DeviceError as e:
            if e.errno in (errno.ENOMSG, errno.EAGAIN):
                return None
            raise

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            done = self._call("write", lambda fd: os.write(fd, rest))  # noqa: B023 - called now
            rest = rest[done:]

    def _call(self, name: str, access: Callable[[int], _T]) -> _T:
        try:
            with self._file.held as fd:
                return access(fd)
        except OSError as e:
            what = f"{self._file.name}: migration data: {name}"
            cure = _OVER if e.errno == errno.ENODEV else ""
            raise DeviceError.answered(what, e.errno, cure) from None

    def precopy_info(self) -> PrecopyInfo:
        info = vfio.vfio_precopy_info(ctypes.sizeof(vfio.vfio_precopy_info))
        cure = {errno.EINVAL: "only PRE_COPY and PRE_COPY_P2P have this", errno.ENODEV: _OVER}
        doing = "asking how much there is to copy"
        self._file.ioctl("VFIO_MIG_GET_PRECOPY_INFO", info, doing=doing, cures=cure)
        reinit = bool(info.flags & vfio.VFIO_PRECOPY_INFO_REINIT)
        return PrecopyInfo(info.initial_bytes, info.dirty_bytes, reinit)

    def close(self) -> None:
        self._file.close()


class KernelMigration(FeatureMigration):
    """The migration of one device of the kernel's."""

    def _stream(
        self, before: MigrationState, after: MigrationState, data_fd: int
    ) -> MigrationData | None:
        return KernelMigrationData(data_fd, self.name) if data_fd >= 0 else None

    def use_precopy_info_v2(self) -> None:
        """Have PrecopyInfo.reinit told, until the device is closed."""
        self._features.set(Feature.MIG_PRECOPY_INFOv2)
