# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Spdk: how SPDK's NVMe target speaks, which is made with libvfio-user (26.05)."""

from __future__ import annotations

import struct
from pathlib import Path

from pyvmm.vfio import Device
from tests.servers.libvfio_user import LibvfioUser
from tests.unit.vfio.fakes import DMA_MAP, DMA_UNMAP, GET_REGION_IO_FDS, Received

_DMA_MAP = struct.Struct("=IIQQQ")
_DMA_UNMAP = struct.Struct("=IIQQ")
_REGION_IO_FDS = struct.Struct("=IIII")


class Spdk(LibvfioUser):
    """It knows no memory but what comes as a file, and has doorbells in mapped memory alone."""

    doorbells = False

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self._unknown: set[int] = set()  # IOVAs
        self.commands |= {
            DMA_MAP: self._map,
            DMA_UNMAP: self._unmap,
            GET_REGION_IO_FDS: self._doorbells,
        }

    def _map(self, asked: Received) -> Received | None:
        if asked.fds:
            return asked
        self._unknown.add(_DMA_MAP.unpack_from(asked.payload)[3])
        self.answer(asked)
        return None

    def _unmap(self, asked: Received) -> Received | None:
        iova = _DMA_UNMAP.unpack_from(asked.payload)[2]
        if iova not in self._unknown:
            return asked
        self._unknown.remove(iova)
        self.answer(asked, asked.payload)
        return None

    def _doorbells(self, asked: Received) -> None:
        _, _, index, _ = _REGION_IO_FDS.unpack_from(asked.payload)
        self.answer(asked, _REGION_IO_FDS.pack(_REGION_IO_FDS.size, 0, index, 0))
