# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteDma: a client's memory that came without a file, reached by DMA_READ and DMA_WRITE."""

from __future__ import annotations

from ..errors import DmaFault, VfioError
from .channel import Channel
from .protocol import (
    DMA_ACCESS,
    VFIO_USER_DMA_READ,
    VFIO_USER_DMA_WRITE,
    command_name,
)


class RemoteDma:
    """RemoteMemory over a channel. A client that is gone is a fault like any other."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        """max_size is how many bytes the client takes or gives in one message."""
        self._channel = channel
        self._max_size = max_size

    def read(self, iova: int, size: int) -> bytes:
        pieces = []
        for at in range(iova, iova + size, self._max_size):
            count = min(self._max_size, iova + size - at)
            asked = DMA_ACCESS.pack(at, count)
            payload = self._call(VFIO_USER_DMA_READ, asked, b"", count)
            pieces.append(payload[len(asked) :])
        return b"".join(pieces)

    def write(self, iova: int, data: bytes | memoryview) -> None:
        for at in range(0, len(data), self._max_size):
            piece = bytes(data[at : at + self._max_size])
            self._call(VFIO_USER_DMA_WRITE, DMA_ACCESS.pack(iova + at, len(piece)), piece, 0)

    def _call(self, command: int, asked: bytes, data: bytes, returned: int) -> bytes:
        iova, size = DMA_ACCESS.unpack(asked)
        try:
            reply = self._channel.call(command, asked + data)
            if reply.failed:
                raise DmaFault(iova, size, f"the client refused {command_name(command)}")
            payload = reply.payload
            if len(payload) != len(asked) + returned or not payload.startswith(asked):
                raise self._channel.lied(command, f"{len(payload)} bytes, not what was asked")
        except DmaFault:
            raise
        except VfioError as e:
            raise DmaFault(iova, size, str(e)) from None
        return payload
