# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteDma: a client's memory that came without a file, reached by DMA_READ and DMA_WRITE."""

from __future__ import annotations

from ..errors import DmaFault, VfioError
from ..software.remote_memory import Check
from .channel import Channel
from .protocol import (
    DMA_ACCESS,
    VFIO_USER_DMA_READ,
    VFIO_USER_DMA_WRITE,
    command_name,
)


class RemoteDma:
    """RemoteMemory over a channel. A client that is gone is a fault like any other."""

    def __init__(self, channel: Channel, max_size: int, *, awaited: bool) -> None:
        """max_size is how many bytes the client takes or gives in one message.

        awaited says that the channel is for this alone, a twin socket.
        """
        self._channel = channel
        self.max_size = max_size
        self.awaited = awaited

    def read(self, iova: int, size: int, check: Check) -> bytes:
        payload = self._call(VFIO_USER_DMA_READ, iova, size, b"", size, check)
        return payload[DMA_ACCESS.size :]

    def write(self, iova: int, data: bytes | memoryview, check: Check) -> None:
        self._call(VFIO_USER_DMA_WRITE, iova, len(data), bytes(data), 0, check)

    def _call(
        self, command: int, iova: int, size: int, data: bytes, returned: int, check: Check
    ) -> bytes:
        asked = DMA_ACCESS.pack(iova, size)
        try:
            reply = self._channel.call(command, asked + data, check=lambda: check(iova, size))
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
