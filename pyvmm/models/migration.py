# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ModelMigration: a model stopped, saved, restored and running again, by VFIO's states.

It has those that every device has that can migrate: RUNNING, STOP, STOP_COPY, RESUMING, ERROR.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from pyvmm.uapi.vfio import VFIO_MIGRATION_STOP_COPY
from pyvmm.vfio.errors import DeviceError
from pyvmm.vfio.migration import Migration, MigrationData
from pyvmm.vfio.migration_states import MigrationState

from .activity import Activity
from .interrupts import Interrupts
from .saved_state import States, unpack

if TYPE_CHECKING:
    from .model_device import ModelDevice

_OVER = "the device has left the states that this stream belongs to"


class _Saved(MigrationData):
    """The state of a model that is in STOP_COPY, to be read."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._left: memoryview | None = memoryview(data)

    def read(self, size: int) -> bytes:
        if self._left is None:
            raise _refused(self._name, errno.EINVAL, _OVER)
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)

    def write(self, data: bytes | memoryview) -> None:
        raise _refused(self._name, errno.EINVAL, "the device is being saved, not restored")

    def close(self) -> None:
        self._left = None


class _ToRestore(MigrationData):
    """What is written to a model that is RESUMING."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self.data = bytearray()
        self._closed = False

    def read(self, size: int) -> bytes:
        raise _refused(self._name, errno.EINVAL, "the device is being restored, not saved")

    def write(self, data: bytes | memoryview) -> None:
        if self._closed:
            raise _refused(self._name, errno.EINVAL, _OVER)
        if len(self.data) + len(data) > self._most:
            cure = f"the device's state has no more than {self._most} bytes"
            raise _refused(self._name, errno.EFBIG, cure)
        self.data += data

    def close(self) -> None:
        self._closed = True
        self.data = bytearray()


class ModelMigration(Migration):
    """The migration of one model. Safe to use from any thread but the model's own."""

    def __init__(
        self, model: ModelDevice, activity: Activity, interrupts: Interrupts, states: States
    ) -> None:
        """All that there is of the model, which makes this."""
        self.name = model.name
        self.flags = VFIO_MIGRATION_STOP_COPY
        self.lock = threading.RLock()
        """Held while the state changes; a reset of the model changes it too."""
        self._model = model
        self._activity = activity
        self._interrupts = interrupts
        self._states = states
        self._state = MigrationState.RUNNING
        self._stream: _Saved | _ToRestore | None = None

    @property
    def saving(self) -> bool:
        """What is written to the device would be lost: its state has been taken already."""
        return self._state == MigrationState.STOP_COPY

    def get_state(self) -> MigrationState:
        return self._state

    def set_state(self, state: MigrationState) -> MigrationData | None:
        with self.lock:
            return super().set_state(state)

    def data_size(self) -> int:
        return len(self._take())

    def was_reset(self) -> None:
        """With the lock held: the model has been reset, and so runs."""
        self._end_stream()
        if self._state != MigrationState.RUNNING:
            self._state = MigrationState.RUNNING
            self._go_on()

    def _go(self, before: MigrationState, way: tuple[MigrationState, ...]) -> MigrationData | None:
        for state in way:
            self._step(state)
            self._state = state
        return self._stream

    def _step(self, state: MigrationState) -> None:
        """One arc. What fails leaves the device where it was, or is ERROR."""
        stream = self._stream
        if state == MigrationState.RUNNING:
            self._go_on()
        elif state == MigrationState.STOP_COPY:
            self._stream = _Saved(self.name, self._take())
        elif state == MigrationState.RESUMING:
            self._stream = _ToRestore(self.name, self._states.most())
        elif self._state == MigrationState.RUNNING:
            self._stop()
        else:
            try:
                if isinstance(stream, _ToRestore):
                    self._put(stream.data)
            finally:
                self._end_stream()

    def _stop(self) -> None:
        """No DMA and no interrupts any more; what is due, is due when it goes on."""
        self._activity.stop()
        self._model.dma.drain()
        with self._model.lock:
            self._interrupts.hold(True)

    def _go_on(self) -> None:
        with self._model.lock:
            self._interrupts.hold(False)
            self._activity.go_on()

    def _take(self) -> bytes:
        with self._model.lock:
            try:
                return self._states.take()
            except Exception as error:
                self._activity.report(error)
                raise DeviceError.answered(
                    f"{self.name}: saving its state", errno.EIO, f"its model failed: {error}"
                ) from None

    def _put(self, data: bytearray) -> None:
        what = f"{self.name}: restoring its state"
        try:
            saved = unpack(data)
            with self._model.lock:
                self._states.check(saved)
                self._activity.drop()
                self._states.put(saved)
                self._model.on_restore(saved.own)
        except Exception as error:
            self._state = MigrationState.ERROR
            if isinstance(error, ValueError):  # its client hears a number alone, and looks here
                self._model.guest_error(f"a state that can't be restored: {error}")
            else:
                self._activity.report(error)
            raise DeviceError.answered(what, errno.EINVAL, str(error)) from None

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.close()


def _refused(name: str, number: int, why: str) -> DeviceError:
    return DeviceError.answered(f"{name}: migration data", number, why)
