# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Migration (v2): a device's state, out of it and into another, as a stream of bytes.

Only devices with a driver made for it can, such as mlx5's; see <linux/vfio.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ...uapi import vfio
from ..errors import DeviceError, VfioError
from .features import Feature, Features
from .kernel_file import KernelFile
from .migration_states import MigrationState, path, states

_FLAGS = struct.Struct("=Q")
_STATE = struct.Struct("=Ii")  # device_state, data_fd
_SIZE = struct.Struct("=Q")
_OVER = "the device has left the states that this stream belongs to"
_T = TypeVar("_T")


class PrecopyInfo(NamedTuple):
    """How many bytes are still to come, about, while the device goes on running.

    initial_bytes are best read before the device is stopped. With reinit, they are new ones,
    whatever was read before; only after Migration.use_precopy_info_v2().
    """

    initial_bytes: int
    dirty_bytes: int
    reinit: bool


class MigrationData:
    """The stream of a device's state, out of it or into it; a context manager that owns the fd."""

    def __init__(self, fd: int, name: str) -> None:
        self._file = KernelFile(fd, name)

    def fileno(self) -> int:
        """For poll(): readable when there is more."""
        return self._file.fileno()

    def read(self, size: int) -> bytes | None:
        """Up to size bytes; none at the end, and None if there is nothing more for now.

        The latter is in PRE_COPY only. Raises DeviceError.
        """
        try:
            return self._call("read", lambda fd: os.read(fd, size))
        except DeviceError as e:
            if e.errno in (errno.ENOMSG, errno.EAGAIN):
                return None
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Write all of the data to a device that is RESUMING. Raises DeviceError."""
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
        """How much there is to read. Raises DeviceError: EINVAL in other states than PRE_COPY*."""
        info = vfio.vfio_precopy_info(ctypes.sizeof(vfio.vfio_precopy_info))
        cure = {errno.EINVAL: "only PRE_COPY and PRE_COPY_P2P have this", errno.ENODEV: _OVER}
        doing = "asking how much there is to copy"
        self._file.ioctl("VFIO_MIG_GET_PRECOPY_INFO", info, doing=doing, cures=cure)
        reinit = bool(info.flags & vfio.VFIO_PRECOPY_INFO_REINIT)
        return PrecopyInfo(info.initial_bytes, info.dirty_bytes, reinit)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> MigrationData:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Migration:
    """The migration of one device; all methods raise VfioError."""

    def __init__(self, features: Features) -> None:
        """Raises DeviceError (ENOTTY) if the device can't migrate."""
        self._features = features
        data = features.get(Feature.MIGRATION, bytes(_FLAGS.size))
        self.flags: int = _FLAGS.unpack(data)[0]

    @property
    def states(self) -> frozenset[MigrationState]:
        """The states the device has."""
        return states(self.flags)

    def get_state(self) -> MigrationState:
        """The state the device is in."""
        data = self._features.get(Feature.MIG_DEVICE_STATE, bytes(_STATE.size))
        number = _STATE.unpack(data)[0]
        try:
            return MigrationState(number)
        except ValueError:
            what = f"{self._features.name}: migration state {number}"
            raise DeviceError.answered(
                what, errno.EPROTO, "the kernel is newer than this"
            ) from None

    def set_state(self, state: MigrationState) -> MigrationData | None:
        """Bring the device into another state; tells of the stream, if that begins one.

        Where one goes on, as from PRE_COPY to STOP_COPY, it is the one there is. If it fails the
        device may be in a state on the way, or in ERROR, which only reset() ends.
        """
        before = self.get_state()
        if path(before, state, self.flags) is None:
            what = f"{self._features.name}: migration from {before.name} to {state.name}"
            raise DeviceError.answered(what, errno.EINVAL, self._legal(before))
        try:
            request = _STATE.pack(state, -1)
            answer = self._features.set(Feature.MIG_DEVICE_STATE, request)
        except DeviceError as e:
            e.cure = "; ".join(filter(None, (e.cure, self._where())))
            raise
        fd = _STATE.unpack(answer)[1]
        return MigrationData(fd, self._features.name) if fd >= 0 else None

    def _legal(self, before: MigrationState) -> str:
        if before == MigrationState.ERROR:
            return "only a reset of the device ends ERROR"
        legal = (s.name for s in MigrationState if s != before and path(before, s, self.flags))
        return f"from there it can go to {', '.join(legal)}"

    def _where(self) -> str:
        try:
            now = self.get_state()
        except VfioError:
            return "reset the device"
        return f"it is in {now.name} now" + ("; reset it" if now == MigrationState.ERROR else "")

    def data_size(self) -> int:
        """How many bytes STOP_COPY will have, about."""
        data = self._features.get(Feature.MIG_DATA_SIZE, bytes(_SIZE.size))
        size: int = _SIZE.unpack(data)[0]
        return size

    def use_precopy_info_v2(self) -> None:
        """Have PrecopyInfo.reinit told, until the device is closed."""
        self._features.set(Feature.MIG_PRECOPY_INFOv2)
