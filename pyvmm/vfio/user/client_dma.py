# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ClientDma: this process's memory, as far as a vfio-user server was given it for DMA."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from ..dma import IOVA_END, DmaMapping, DmaSpace
from ..errors import DeviceError
from ..intervals import Interval, align_outwards
from ..mapping import PAGE_SIZE
from ..software.dma_table import DmaTable
from .protocol import (
    DMA_ACCESS,
    DMA_MAP,
    DMA_UNMAP,
    F_DMA_REGION_READ,
    F_DMA_REGION_WRITE,
    MAX_DATA_XFER_SIZE,
    VFIO_USER_DMA_MAP,
    VFIO_USER_DMA_READ,
    VFIO_USER_DMA_UNMAP,
)
from .transport import Message

_MOST_WRITTEN = 4096  # notes of writes by message, before those of one page become one


class ClientDma(DmaSpace):
    """Maps by DMA_MAP, with the memory's file if it has one, and serves DMA by message.

    A server's DMA_READ and DMA_WRITE reach only memory that is mapped now, and write only
    what is mapped writable: each goes through a DmaTable of the host addresses. With the file
    the server has all of it, for good; no unmap takes that back.
    """

    def __init__(
        self,
        ask: Callable[[str, int, bytes, Sequence[int]], Message],
        page_sizes: int,
        *,
        takes_files: bool = True,
    ) -> None:
        """ask(doing, command, payload, fds) sends a command and raises for an error reply.

        takes_files says whether the server can be passed any: else all DMA is by message.
        """
        super().__init__()
        self._takes_files = takes_files
        self._ask = ask
        self._page_sizes = page_sizes
        self._table = DmaTable()
        self._messages_only: set[int] = set()  # IOVAs of mappings whose file the server hasn't got
        self._written: list[Interval] | None = None

    @property
    def page_sizes(self) -> int:
        return self._page_sizes

    def iova_ranges(self) -> tuple[Interval, ...]:
        return (Interval(0, IOVA_END),)

    def _map(self, mapping: DmaMapping) -> None:
        iova, size, address, fd, offset, readable, writable = mapping
        if not self._takes_files:
            fd = -1
            if not address:
                cure = "map it: the server takes no files, and would ask for it by messages"
                raise DeviceError.answered(f"mapping {mapping}", errno.EOPNOTSUPP, cure)
        if address:  # first: the server may use it before its reply is read
            self._table.map(iova, size, address=address, readable=readable, writable=writable)
        try:
            flags = F_DMA_REGION_READ if readable else 0
            flags |= F_DMA_REGION_WRITE if writable else 0
            payload = DMA_MAP.pack(DMA_MAP.size, flags, offset if fd >= 0 else 0, iova, size)
            fds = (fd,) if fd >= 0 else ()
            self._ask(f"mapping {mapping}", VFIO_USER_DMA_MAP, payload, fds)
            if not fds:
                self._messages_only.add(iova)
        except BaseException:
            self._forget(mapping)
            raise

    def _unmap(self, mapping: DmaMapping) -> None:
        payload = DMA_UNMAP.pack(DMA_UNMAP.size, 0, mapping.iova, mapping.size)
        try:
            self._ask(f"unmapping {mapping}", VFIO_USER_DMA_UNMAP, payload, ())
        finally:
            # Whatever the server says to it: the memory may be gone after this.
            self._forget(mapping)

    def _forget(self, mapping: DmaMapping) -> None:
        self._messages_only.discard(mapping.iova)
        if mapping.address:
            self._table.unmap(mapping.iova, mapping.size)

    def serve(self, message: Message) -> bytes:
        """Answer a DMA_READ or DMA_WRITE. Raises DeviceError for what is not allowed."""
        payload = message.payload
        if len(payload) < DMA_ACCESS.size:
            raise DeviceError.answered("DMA by message", errno.EINVAL)
        iova, count = DMA_ACCESS.unpack_from(payload)
        if count > MAX_DATA_XFER_SIZE:
            raise DeviceError.answered("DMA by message", errno.EINVAL)
        if message.command == VFIO_USER_DMA_READ:
            return payload[: DMA_ACCESS.size] + self._table.read(iova, count)
        data = memoryview(payload)[DMA_ACCESS.size :]
        if len(data) != count:
            raise DeviceError.answered("DMA by message", errno.EINVAL)
        self._table.write(iova, data)
        written = self._written  # which another thread may end at any time
        if written is not None and count:
            written.append(Interval.sized(iova, count))
            if len(written) > _MOST_WRITTEN:
                written[:] = align_outwards(written, PAGE_SIZE)
        return payload[: DMA_ACCESS.size]

    def by_message_only(self, mapped: Interval) -> bool:
        """Whether the server reaches a mapping by messages alone, which it may keep no log of."""
        return mapped.start in self._messages_only

    def log_messages(self, on: bool) -> None:
        """Note what is written by message from now on, or forget it."""
        self._written = [] if on else None

    def take_written(self) -> Sequence[Interval]:
        """What was written by message since the last time."""
        written, self._written = self._written or [], None if self._written is None else []
        return written

    def _close(self) -> None:
        # The server forgets all of it with the connection.
        self._table.close()
