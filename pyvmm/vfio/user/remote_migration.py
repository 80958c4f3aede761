# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteMigration: the migration of a server's device, whose stream goes in messages.

Specification: VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE.
"""

from __future__ import annotations

import errno

from ...uapi.vfio import VFIO_MIGRATION_P2P
from ..errors import DeviceError, DeviceGone
from ..features import lacking
from ..migration import FeatureMigration, MigrationData
from ..migration_states import MigrationState, begins_stream
from .protocol import MIG_DATA, VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE
from .remote_features import LACKING, RemoteFeatures


class RemoteMigrationData(MigrationData):
    """A stream that the server keeps; it ends with the states that it belongs to."""

    def __init__(self, features: RemoteFeatures) -> None:
        self._name = features.name
        self._queries = features.queries
        self._patience = features.patience
        self._most = features.max_transfer
        self._closed = False

    def read(self, size: int) -> bytes | None:
        """MigrationData.read(); where less than size came, there may be more all the same."""
        self._check_open()
        command = VFIO_USER_MIG_DATA_READ
        size = min(size, self._most)
        request = MIG_DATA.pack(MIG_DATA.size + size, size)
        doing = f"reading {size} bytes of migration data"
        try:
            reply = self._queries.ask(doing, command, request, timeout=self._patience)
        except DeviceError as e:
            if e.errno in (errno.ENOMSG, errno.EAGAIN):
                return None
            raise
        payload = reply.payload
        if len(payload) < MIG_DATA.size:
            raise self._queries.lied(command, f"{len(payload)} bytes of payload")
        _, came = MIG_DATA.unpack_from(payload)
        # libvfio-user pads the message to what was asked for.
        if came > min(size, len(payload) - MIG_DATA.size):
            what = f"{came} bytes of data, where {size} were asked for, in {len(payload)}"
            raise self._queries.lied(command, what)
        return payload[MIG_DATA.size : MIG_DATA.size + came]

    def write(self, data: bytes | memoryview) -> None:
        self._check_open()
        rest = memoryview(data).cast("B")
        while rest:
            piece, rest = rest[: self._most], rest[self._most :]
            request = MIG_DATA.pack(MIG_DATA.size + len(piece), len(piece)) + piece
            doing = f"writing {len(piece)} bytes of migration data"
            self._queries.ask(doing, VFIO_USER_MIG_DATA_WRITE, request, timeout=self._patience)

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceGone(f"{self._name}: migration data: closed")

    def close(self) -> None:
        self._closed = True


class RemoteMigration(FeatureMigration):
    """The migration of one server's device."""

    def __init__(self, features: RemoteFeatures) -> None:
        try:
            super().__init__(features)
        except DeviceError as e:
            if e.errno not in LACKING:
                raise
            raise lacking(features.name, "migration", "its server hasn't got it") from None
        self.flags &= ~VFIO_MIGRATION_P2P  # the specification has no use for those states
        self._remote = features

    def _stream(
        self, before: MigrationState, after: MigrationState, data_fd: int
    ) -> MigrationData | None:
        return RemoteMigrationData(self._remote) if begins_stream(before, after) else None
