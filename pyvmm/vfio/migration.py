# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Migration (v2): a device's state, out of it and into another, as a stream of bytes.

The interface is that of <linux/vfio.h> (enum vfio_device_mig_state), for devices of the kernel's
VFIO, of vfio-user servers and in software alike.
"""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod
from types import TracebackType
from typing import NamedTuple, Self

from .errors import DeviceError, VfioError
from .features import Feature, Features
from .migration_states import MigrationState, path, states

MIGRATION = struct.Struct("=Q")
"""struct vfio_device_feature_migration: flags"""
MIG_STATE = struct.Struct("=Ii")
"""struct vfio_device_feature_mig_state: device_state, data_fd"""
MIG_DATA_SIZE = struct.Struct("=Q")
"""struct vfio_device_feature_mig_data_size: stop_copy_length, in bytes"""


class PrecopyInfo(NamedTuple):
    """How many bytes are still to come, about, while the device goes on running.

    initial_bytes are best read before the device is stopped. With reinit, they are new ones,
    whatever was read before; the kernel's devices tell that only after use_precopy_info_v2().
    """

    initial_bytes: int
    dirty_bytes: int
    reinit: bool


class MigrationData(ABC):
    """The stream of a device's state, out of it or into it; a context manager.

    It is good for as long as the device is in the states that it belongs to: the saving ones
    (PRE_COPY, PRE_COPY_P2P, STOP_COPY), or RESUMING. All methods raise VfioError.
    """

    @abstractmethod
    def read(self, size: int) -> bytes | None:
        """Up to size bytes; none at the end, and None if there is nothing more for now.

        The latter is in PRE_COPY only. Raises DeviceError.
        """

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Write all of the data to a device that is RESUMING. Raises DeviceError."""

    def precopy_info(self) -> PrecopyInfo:
        """How much there is to read. Raises DeviceError: EINVAL in other states than PRE_COPY*."""
        what = "asking how much there is to copy"
        raise DeviceError.answered(what, errno.EOPNOTSUPP, "read until there is nothing more")

    @abstractmethod
    def close(self) -> None:
        """Let it go; the device stays in its state. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Migration(ABC):
    """The migration of one device; all methods raise VfioError."""

    name: str
    """The device's, for messages."""
    flags: int
    """VFIO_MIGRATION_*, which tell the states the device has."""

    @property
    def states(self) -> frozenset[MigrationState]:
        """The states the device has."""
        return states(self.flags)

    @abstractmethod
    def get_state(self) -> MigrationState:
        """The state the device is in."""

    def set_state(self, state: MigrationState) -> MigrationData | None:
        """Bring the device into another state; tells of the stream, if that begins one.

        Where one goes on, as from PRE_COPY to STOP_COPY, it is the one there is. Raises
        DeviceError, with EINVAL if no way leads there. If it fails otherwise the device may be in
        a state on the way, or in ERROR, which only Device.reset() ends.
        """
        before = self.get_state()
        way = path(before, state, self.flags)
        if way is None:
            what = f"{self.name}: migration from {before.name} to {state.name}"
            raise DeviceError.answered(what, errno.EINVAL, self._legal(before))
        if not way:
            return None
        try:
            return self._go(before, way)
        except DeviceError as e:
            e.cure = "; ".join(filter(None, (e.cure, self._where())))
            raise

    @abstractmethod
    def _go(self, before: MigrationState, way: tuple[MigrationState, ...]) -> MigrationData | None:
        """Bring the device from a state to the one that the way ends with."""

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

    @abstractmethod
    def data_size(self) -> int:
        """How many bytes STOP_COPY will have, about."""


class FeatureMigration(Migration):
    """The migration of a device that is asked by its features. Whose it is opens the streams."""

    def __init__(self, features: Features) -> None:
        """Raises DeviceError (ENOTTY) if the device can't migrate."""
        self._features = features
        self.name = features.name
        data = features.get(Feature.MIGRATION, bytes(MIGRATION.size))
        self.flags = MIGRATION.unpack(data)[0]

    def get_state(self) -> MigrationState:
        data = self._features.get(Feature.MIG_DEVICE_STATE, bytes(MIG_STATE.size))
        number = MIG_STATE.unpack(data)[0]
        try:
            return MigrationState(number)
        except ValueError:
            what = f"{self.name}: migration state {number}"
            cure = "what drives the device is newer than this"
            raise DeviceError.answered(what, errno.EPROTO, cure) from None

    def _go(self, before: MigrationState, way: tuple[MigrationState, ...]) -> MigrationData | None:
        answer = self._features.set(Feature.MIG_DEVICE_STATE, MIG_STATE.pack(way[-1], -1))
        return self._stream(before, way[-1], MIG_STATE.unpack(answer)[1])

    @abstractmethod
    def _stream(
        self, before: MigrationState, after: MigrationState, data_fd: int
    ) -> MigrationData | None:
        """The stream that began on the way, if one did; data_fd is that of the answer."""

    def data_size(self) -> int:
        data = self._features.get(Feature.MIG_DATA_SIZE, bytes(MIG_DATA_SIZE.size))
        size: int = MIG_DATA_SIZE.unpack(data)[0]
        return size
