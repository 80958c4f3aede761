# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ServedFeatures: features and migration of a served device, for one client.

Specification: VFIO_USER_DEVICE_FEATURE, VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE.
"""

from __future__ import annotations

import errno

from ...uapi.vfio import (
    VFIO_DEVICE_FEATURE_GET,
    VFIO_DEVICE_FEATURE_MASK,
    VFIO_DEVICE_FEATURE_PROBE,
    VFIO_DEVICE_FEATURE_SET,
)
from ..device import Device
from ..device_features import DeviceFeatures
from ..errors import DeviceError, VfioError
from ..features import Access, Feature, feature_name
from ..migration import MIG_STATE, MigrationData
from ..migration_states import SAVING, MigrationState
from .protocol import DEVICE_FEATURE, MAX_DATA_XFER_SIZE, MIG_DATA, command_name
from .survive import survive
from .transport import Message

_GET, _SET, _PROBE = (
    VFIO_DEVICE_FEATURE_GET,
    VFIO_DEVICE_FEATURE_SET,
    VFIO_DEVICE_FEATURE_PROBE,
)

_WITH_STREAM = SAVING | {MigrationState.RESUMING}


class ServedFeatures:
    """Carries out what a client asks for, and undoes it when the client goes.

    A migration is its client's, and its stream ours: with the client it ends, and the device runs
    for the next one, whose memory it doesn't know yet. One whose state came in only half is reset.
    Whoever closes this has taken the client's memory and eventfds away before: they may be those of
    a guest that runs elsewhere by now.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._features = DeviceFeatures(device)
        self._stream: MigrationData | None = None  # that of the migration under way
        self._migrated = self._logged = False

    def feature(self, message: Message) -> bytes:
        """Carry out a DEVICE_FEATURE message. Raises VfioError."""
        argsz, flags = _unpack(message, DEVICE_FEATURE.size)
        data = message.payload[DEVICE_FEATURE.size :]
        feature, how = flags & VFIO_DEVICE_FEATURE_MASK, flags & ~VFIO_DEVICE_FEATURE_MASK
        if how & _PROBE and not how & ~(_PROBE | _GET | _SET):
            there = self._features.probe(feature)
            if there and feature == Feature.MIG_DEVICE_STATE:
                there |= Access.SET
            if not there or how & (_GET | _SET) & ~there:
                what = f"probing feature {feature_name(feature)}"
                raise DeviceError.answered(what, errno.ENOTTY)
            return message.payload
        if how == _GET:
            size = DEVICE_FEATURE.size + self._features.answer_size(feature, data)
            if argsz < size:  # looking at a log's report would forget it
                return DEVICE_FEATURE.pack(size, flags)
            answer = self._features.get(feature, data)
            return DEVICE_FEATURE.pack(DEVICE_FEATURE.size + len(answer), flags) + answer
        if how == _SET:
            self._logged |= feature == Feature.DMA_LOGGING_START
            migrates = feature == Feature.MIG_DEVICE_STATE
            answer = self._set_state(data) if migrates else self._features.set(feature, data)
            return DEVICE_FEATURE.pack(argsz, flags) + answer
        raise _invalid(f"a feature with flags {flags:#x}")

    def _set_state(self, data: bytes) -> bytes:
        self._migrated = True
        state = self._features.state_in(data)
        migration = self._device.migration
        try:
            begun = migration.set_state(state)
        except DeviceError:
            if migration.get_state() not in _WITH_STREAM:
                self._end_stream()
            raise
        if begun or state not in _WITH_STREAM:
            self._end_stream()
        if begun:
            self._stream = begun
        return MIG_STATE.pack(state, -1)

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.close()

    def read(self, message: Message) -> bytes:
        """Carry out a MIG_DATA_READ message. Raises VfioError."""
        argsz, size = _unpack(message, MIG_DATA.size)
        if size > MAX_DATA_XFER_SIZE or argsz < MIG_DATA.size + size:
            raise _invalid(f"reading {size} bytes of migration data with argsz {argsz}")
        stream = self._begun()
        data = b""
        # To the client a short answer is the end, which a file's isn't.
        while len(data) < size:
            piece = stream.read(size - len(data))
            if not piece:
                if piece is None and not data:
                    what = "reading migration data: there is none for now"
                    raise DeviceError.answered(what, errno.ENOMSG)
                break
            data += piece
        # libvfio-user's clients take no message that is shorter than they asked for.
        return MIG_DATA.pack(MIG_DATA.size + len(data), len(data)) + data.ljust(size, b"\0")

    def write(self, message: Message) -> bytes:
        """Carry out a MIG_DATA_WRITE message. Raises VfioError."""
        argsz, size = _unpack(message, MIG_DATA.size)
        data = memoryview(message.payload)[MIG_DATA.size :]
        if size > MAX_DATA_XFER_SIZE or argsz < MIG_DATA.size + size or len(data) < size:
            raise _invalid(f"{size} bytes of migration data in {len(data)} with argsz {argsz}")
        self._begun().write(data[:size])
        return b""

    def _begun(self) -> MigrationData:
        if self._stream is None:
            raise _invalid("migration data in a state that has none")
        return self._stream

    def was_reset(self) -> None:
        """The device has been reset, and so runs."""
        self._end_stream()

    def close(self) -> None:
        """The client is gone. Idempotent."""
        name = self._device.name
        with survive(f"{name}: ending its migration"):
            self._end_stream()
            if self._migrated:
                self._migrated = False
                self._run()
        with survive(f"{name}: stopping its DMA log"):
            if self._logged:
                self._logged = False
                self._device.dma_logging.stop()

    def _run(self) -> None:
        migration = self._device.migration
        try:
            if migration.get_state() != MigrationState.RUNNING:
                data = migration.set_state(MigrationState.RUNNING)
                assert data is None
        except VfioError:
            self._device.reset()


def _unpack(message: Message, size: int) -> tuple[int, int]:
    """The first two numbers of a payload: argsz, which must allow for as much, and another."""
    payload = message.payload
    if len(payload) < size:
        raise _invalid(f"{command_name(message.command)} of {len(payload)} bytes")
    argsz, other = MIG_DATA.unpack_from(payload)
    if argsz < size:
        raise _invalid(f"{command_name(message.command)} with argsz {argsz}")
    return argsz, other


def _invalid(what: str) -> DeviceError:
    return DeviceError.answered(what, errno.EINVAL)
