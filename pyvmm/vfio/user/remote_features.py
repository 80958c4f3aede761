# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteFeatures: the features of the device that a vfio-user server serves.

Nothing tells beforehand whether a server knows VFIO_USER_DEVICE_FEATURE, and one that doesn't may
lose the stream over it, as rust-vmm's does. So none is asked unless somebody wants to know.
"""

from __future__ import annotations

import errno

from ...uapi.vfio import (
    VFIO_DEVICE_FEATURE_GET,
    VFIO_DEVICE_FEATURE_PROBE,
    VFIO_DEVICE_FEATURE_SET,
)
from ..errors import DeviceError, ProtocolError
from ..features import NO_CURES, Access, Cures, Feature, Features, feature_name, find_cure
from .protocol import DEVICE_FEATURE, VFIO_USER_DEVICE_FEATURE
from .queries import Queries

LACKING = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP, 0)
"""What servers say who haven't got a feature, or don't know of features; 0 is no reason at all."""


class RemoteFeatures(Features):
    """Asks by messages; the structures are as in device_features.py."""

    def __init__(self, queries: Queries, name: str, max_transfer: int, patience: float) -> None:
        """max_transfer is the most bytes of data in a message; patience is in seconds."""
        self.queries = queries
        self.max_transfer = max_transfer
        self.patience = patience
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def probe(self, feature: int) -> Access:
        return Access(sum(access for access in Access if self._probe(feature, access)))

    def _probe(self, feature: int, access: Access) -> bool:
        try:
            self._ask(VFIO_DEVICE_FEATURE_PROBE | access, feature, b"", 0, "probing")
        except DeviceError as e:
            if e.errno not in LACKING:
                raise
            return False
        return True

    def get(self, feature: int, data: bytes, *, cures: Cures = NO_CURES, more: int = 0) -> bytes:
        """Features.get(); the answer may have so many bytes more than data."""
        asks = data if feature == Feature.DMA_LOGGING_REPORT else b""
        room = len(data) + more
        answer = self._ask(VFIO_DEVICE_FEATURE_GET, feature, asks, room, "getting", cures)
        if len(answer) != room:
            raise self._lied(feature, answer, room)
        return answer

    def set(self, feature: int, data: bytes = b"", *, cures: Cures = NO_CURES) -> bytes:
        size = len(data)
        answer = self._ask(VFIO_DEVICE_FEATURE_SET, feature, data, size, "setting", cures)
        if len(answer) != size:
            raise self._lied(feature, answer, size)
        return answer

    def _ask(
        self, how: int, feature: int, data: bytes, room: int, verb: str, cures: Cures = NO_CURES
    ) -> bytes:
        argsz = DEVICE_FEATURE.size + room
        request = DEVICE_FEATURE.pack(argsz, how | feature) + data
        doing = f"{verb} feature {feature_name(feature)}"
        try:
            reply = self.queries.ask(
                doing, VFIO_USER_DEVICE_FEATURE, request, timeout=self.patience
            )
        except DeviceError as e:
            e.cure = find_cure(cures, e.errno) or e.cure
            raise
        payload = reply.payload
        if not payload:  # libvfio-user, where it fails for no reason that errno has a number for
            raise self.queries.refused(doing, VFIO_USER_DEVICE_FEATURE, reply)
        echoed = len(payload) >= DEVICE_FEATURE.size
        if not echoed or DEVICE_FEATURE.unpack_from(payload)[1] != how | feature:
            what = f"{len(payload)} bytes that are not of feature {feature_name(feature)}"
            raise self.queries.lied(VFIO_USER_DEVICE_FEATURE, what)
        return payload[DEVICE_FEATURE.size :]

    def _lied(self, feature: int, answer: bytes, size: int) -> ProtocolError:
        what = f"{len(answer)} bytes of feature {feature_name(feature)} instead of {size}"
        return self.queries.lied(VFIO_USER_DEVICE_FEATURE, what)
