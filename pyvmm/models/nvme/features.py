# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Features (section 5.21): values of a double word each, which a reset of the controller undoes."""

from __future__ import annotations

from .events import TEMPERATURE, Events
from .spec import Feature, Rejected, Status

MAX_QUEUES = 64  # I/O queues of each kind; so there are as many vectors and one
VECTORS = MAX_QUEUES + 1
TEMPERATURE_NOW = 313  # kelvin; nothing here gets warm
WARNING_TEMPERATURE = 343

CHANGEABLE = 0x4  # capabilities, as told by SELECT_CAPABILITIES
SELECT_CURRENT, SELECT_DEFAULT, SELECT_SAVED, SELECT_CAPABILITIES = range(4)

_QUEUES = (MAX_QUEUES - 1) << 16 | MAX_QUEUES - 1
_DEFAULTS: dict[int, int] = {
    Feature.ARBITRATION: 0x07,  # no limit of a burst
    Feature.POWER_MANAGEMENT: 0,
    Feature.TEMPERATURE_THRESHOLD: WARNING_TEMPERATURE,
    Feature.ERROR_RECOVERY: 0,
    Feature.VOLATILE_WRITE_CACHE: 1,
    Feature.NUMBER_OF_QUEUES: _QUEUES,
    Feature.INTERRUPT_COALESCING: 0,
    Feature.INTERRUPT_VECTOR: 0,
    Feature.WRITE_ATOMICITY: 0,
    Feature.ASYNC_EVENT: 0,
}
_ALLOWED: dict[int, int] = {
    Feature.ARBITRATION: 0xFFFFFF07,
    Feature.POWER_MANAGEMENT: 0x000000E0,  # one power state; workload hints
    Feature.TEMPERATURE_THRESHOLD: 0x003FFFFF,
    Feature.ERROR_RECOVERY: 0x0000FFFF,
    Feature.VOLATILE_WRITE_CACHE: 0x00000001,
    Feature.INTERRUPT_COALESCING: 0x0000FFFF,
    Feature.INTERRUPT_VECTOR: 0x0001FFFF,
    Feature.WRITE_ATOMICITY: 0x00000001,
    Feature.ASYNC_EVENT: 0xFFFFFFFF,
}

_UNDER_THRESHOLD = 1 << 20  # THSEL
_CRITICAL_TEMPERATURE = 1 << 1  # of the asynchronous events that may be told


class Features:
    """The values of one controller. Methods raise Rejected."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._values = dict(_DEFAULTS)
        self._coalescing_off: set[int] = set()
        self._under_threshold = 0

    @property
    def write_cache(self) -> bool:
        """Whether a write may be completed before it is durable."""
        return bool(self._values[Feature.VOLATILE_WRITE_CACHE])

    def get(self, id: int, select: int, cdw11: int) -> int:
        if id not in _DEFAULTS:
            raise Rejected(Status.INVALID_FIELD, 40)
        if select == SELECT_CAPABILITIES:
            return CHANGEABLE
        if select > SELECT_CAPABILITIES:
            raise Rejected(Status.INVALID_FIELD, 41)
        default = select in (SELECT_DEFAULT, SELECT_SAVED)
        if id == Feature.TEMPERATURE_THRESHOLD:
            return self._threshold(cdw11, default)
        if id == Feature.INTERRUPT_VECTOR:
            vector = _vector(cdw11)
            return vector | (0 if default or vector not in self._coalescing_off else 1 << 16)
        return _DEFAULTS[id] if default else self._values[id]

    def set(self, id: int, value: int, *, save: bool, io_queues: bool) -> int:
        """Returns what the completion tells. `io_queues`: there are some already."""
        if id not in _DEFAULTS:
            raise Rejected(Status.INVALID_FIELD, 40)
        if save:
            raise Rejected(Status.FEATURE_NOT_SAVEABLE, 43)
        if id == Feature.NUMBER_OF_QUEUES:
            if 0xFFFF in (value & 0xFFFF, value >> 16):
                raise Rejected(Status.INVALID_FIELD, 44)
            if io_queues:
                raise Rejected(Status.SEQUENCE_ERROR, 40)
            return _QUEUES
        if value & ~_ALLOWED[id]:
            raise Rejected(Status.INVALID_FIELD, 44)
        if id == Feature.TEMPERATURE_THRESHOLD:
            self._set_threshold(value)
        elif id == Feature.INTERRUPT_VECTOR:
            change = self._coalescing_off.add if value >> 16 else self._coalescing_off.discard
            change(_vector(value))
        else:
            self._values[id] = value
        return 0

    def _threshold(self, cdw11: int, default: bool) -> int:
        if _sensor(cdw11) > 0:
            raise Rejected(Status.INVALID_FIELD, 44)
        if cdw11 & _UNDER_THRESHOLD:
            return 0 if default else self._under_threshold
        id = Feature.TEMPERATURE_THRESHOLD
        return _DEFAULTS[id] if default else self._values[id]

    def _set_threshold(self, value: int) -> None:
        sensor, kelvin = _sensor(value), value & 0xFFFF
        if 0 < sensor < 0xF or value >> 21:  # there is the composite temperature only; 0xF is all
            raise Rejected(Status.INVALID_FIELD, 44)
        if value & _UNDER_THRESHOLD:
            self._under_threshold = kelvin
        else:
            self._values[Feature.TEMPERATURE_THRESHOLD] = kelvin
        if self.too_warm_or_cold and self._values[Feature.ASYNC_EVENT] & _CRITICAL_TEMPERATURE:
            self._events.report(TEMPERATURE)

    @property
    def too_warm_or_cold(self) -> bool:
        over = self._values[Feature.TEMPERATURE_THRESHOLD]
        return not self._under_threshold < TEMPERATURE_NOW < over


def _sensor(cdw11: int) -> int:
    return cdw11 >> 16 & 0xF


def _vector(cdw11: int) -> int:
    vector = cdw11 & 0xFFFF
    if vector >= VECTORS:
        raise Rejected(Status.INVALID_FIELD, 44)
    return vector
