# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Client: a device in another process, behind a UNIX socket."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from ...uapi.pci_regs import PCI_VENDOR_ID
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from .. import eventfd_signal
from ..device import Device, IoEventFd, IrqData, IrqInfo, RegionInfo, RegionWrite
from ..dma import DmaSpace
from ..errors import DeviceError, DeviceGone, VfioError
from ..eventfd import EventFd
from ..intervals import Interval
from ..mapping import Mapping
from ..passed_fds import close_passed
from . import write_multi
from .channel import DEFAULT_TIMEOUT, Channel
from .client_dma import ClientDma
from .connecting import connect
from .idle_reader import IdleReader
from .posted_writes import PostedWrites
from .protocol import (
    F_ERROR,
    REGION_ACCESS,
    VFIO_USER_DEVICE_RESET,
    VFIO_USER_DMA_READ,
    VFIO_USER_DMA_WRITE,
    VFIO_USER_REGION_READ,
    VFIO_USER_REGION_WRITE,
    command_name,
)
from .queries import Queries
from .remote_irqs import RemoteIrqs
from .transport import Message
from .twin_socket import TwinSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .remote_dma_logging import RemoteDmaLogging
    from .remote_features import RemoteFeatures
    from .remote_migration import RemoteMigration

# The specification allows a reset "an arbitrarily long time".
_LONG = 6


class Client(Device):
    """The device that a vfio-user server serves; a context manager.

    When the server dies, breaks the protocol or does not answer in time, on_gone is called,
    once, in whichever thread noticed, and every method raises DeviceGone from then on. It may
    close() the client, but must not wait for a thread that does.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str = "vfio-user server",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        first_timeout: float | None = None,
        on_gone: Callable[[VfioError], None] | None = None,
        posted_writes: bool = False,
    ) -> None:
        """Take over a connected socket, and agree on a version with the server there.

        timeout is how many seconds a reply may take; first_timeout, how many the first one may,
        of a server that has yet to start. posted_writes is for PostedWrites. Raises VfioError.
        """
        self.name = name
        eventfd_signal.prepare()
        self._lock = threading.RLock()
        self._regions: dict[int, tuple[RegionInfo, int]] = {}
        self._irqs: dict[int, IrqInfo] = {}
        self._doorbells: dict[int, tuple[IoEventFd, ...]] = {}
        self._eventfds: list[EventFd] = []
        self._features: RemoteFeatures | None = None
        self._migration: RemoteMigration | None = None
        self._dma_logging: RemoteDmaLogging | None = None
        self._pid = os.getpid()
        self._dma: ClientDma | None = None
        self._twin: TwinSocket | None = None
        self._channel = Channel(
            sock,
            name,
            self._handle,
            timeout=timeout,
            on_gone=self._tell_gone,
        )
        self._queries = Queries(self._channel)
        self._posted = PostedWrites(self) if posted_writes else None
        self._on_gone: Callable[[VfioError], None] | None = None
        try:
            self._idle_reader = IdleReader(self._channel.fileno(), name, self._channel.idle)
        except BaseException:
            self._channel.close()
            raise
        self._channel.watched_by(self._idle_reader)
        try:
            self._server, twin = self._queries.negotiate(first_timeout)
            if twin:
                self._twin = TwinSocket(twin, name, self._handle, timeout, self._channel.follow)
            self._max_transfer = self._server.max_data_xfer_size
            self._remote_irqs = RemoteIrqs(self._queries, self, self._server.max_msg_fds)
            takes_files = self._server.max_msg_fds > 0
            self._dma = ClientDma(self._queries.ask, self._server.pgsizes, takes_files=takes_files)
            self.info = self._queries.device()
            # Until here whoever connects is told by the exception.
            self._on_gone = on_gone
            if self._channel.gone:
                raise self._channel.gone
        except BaseException as error:
            gone = self._channel.gone
            self.close()
            if isinstance(error, DeviceGone) and gone:
                raise gone from None  # whichever thread it was that noticed
            raise

    @classmethod
    def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        on_gone: Callable[[VfioError], None] | None = None,
        on_connected: Callable[[socket.socket], None] | None = None,
        posted_writes: bool = False,
    ) -> Client:
        """Connect to the server that listens at path. Raises VfioError: DeviceGone if none does.

        on_connected is given the socket, which the client owns. Whoever shuts it down, on any
        thread, hangs up: from then on every call fails at once, and what is left of this one.
        """
        name = f"vfio-user server {os.fspath(path)}"
        sock = connect(os.fspath(path), name, timeout)
        if on_connected:
            on_connected(sock)
        return cls(sock, name, timeout=timeout, on_gone=on_gone, posted_writes=posted_writes)

    @property
    def dma(self) -> DmaSpace:
        if self._dma is None:
            raise DeviceGone(f"{self.name}: closed")
        return self._dma

    @property
    def gone(self) -> VfioError | None:
        """Why the device is no longer there; None while it is."""
        return self._channel.gone

    def _tell_gone(self, error: VfioError) -> None:
        if self._twin:
            self._twin.hang_up()
        if self._on_gone:
            self._on_gone(error)

    def _handle(self, message: Message) -> bytes:
        if self._dma and message.command in (VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE):
            return self._dma.serve(message)
        raise DeviceError.answered(command_name(message.command), errno.EOPNOTSUPP)

    # Regions

    def region_info(self, index: int) -> RegionInfo:
        return self._region(index)[0]

    def map_region(self, index: int, area: Interval) -> Mapping:
        with self._lock:  # close() closes the file
            mapping = super().map_region(index, area)
            try:
                self._end_posting()
            except BaseException:
                mapping.close()
                raise
            return mapping

    def region_fd(self, index: int) -> int:
        return self._region(index)[1]

    def _region(self, index: int) -> tuple[RegionInfo, int]:
        with self._lock:
            if index not in self._regions:
                self._check_index("region", index, self.info.num_regions)
                self._regions[index] = self._queries.region(index)
            return self._regions[index]

    def _check_index(self, kind: str, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise DeviceError.answered(f"{self.name}: {kind} {index} of {count}", errno.EINVAL)

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        if not 0 < size <= self._max_transfer:
            return self._read_in_pieces(index, offset, size)
        asked = REGION_ACCESS.pack(offset, index, size)
        reply = self._channel.call(VFIO_USER_REGION_READ, asked)
        payload = reply.payload
        if reply.flags & F_ERROR:
            doing = f"reading {size} bytes at {offset:#x} of region {index}"
            raise self._queries.refused(doing, VFIO_USER_REGION_READ, reply)
        if len(payload) != REGION_ACCESS.size + size or not payload.startswith(asked):
            what = _difference(asked, payload, size)
            raise self._channel.lied(VFIO_USER_REGION_READ, what)
        return payload[REGION_ACCESS.size :]

    def _read_in_pieces(self, index: int, offset: int, size: int) -> bytes:
        most = self._max_transfer
        starts = range(0, size, most)
        return b"".join(self.region_read(index, offset + at, min(most, size - at)) for at in starts)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        if not 0 < len(data) <= self._max_transfer:
            self._write_in_pieces(index, offset, data)
            return
        asked = REGION_ACCESS.pack(offset, index, len(data))
        posted = self._posted  # which another thread may end at any time
        if posted and posted.takes(index):
            self._channel.post(VFIO_USER_REGION_WRITE, asked + data)
            if self._posted is None:
                self._await_posted()  # it may have come too late for who ended it
            return
        reply = self._channel.call(VFIO_USER_REGION_WRITE, asked + data)
        if reply.flags & F_ERROR:
            doing = f"writing {len(data)} bytes at {offset:#x} of region {index}"
            raise self._queries.refused(doing, VFIO_USER_REGION_WRITE, reply)
        if reply.payload != asked:
            what = _difference(asked, reply.payload, 0)
            raise self._channel.lied(VFIO_USER_REGION_WRITE, what)

    def _write_in_pieces(self, index: int, offset: int, data: bytes) -> None:
        most = self._max_transfer
        for at in range(0, len(data), most):
            self.region_write(index, offset + at, data[at : at + most])

    def region_write_multi(self, writes: Sequence[RegionWrite]) -> None:
        if self._server.write_multiple and write_multi.fit(writes):
            write_multi.send(self._queries, writes, self._max_transfer)
        else:
            super().region_write_multi(writes)

    def _end_posting(self) -> None:
        """From now on the device is also reached past the socket. What was posted is carried out
        before this returns. Raises VfioError.
        """
        if self._posted:
            self._posted = None
            self._await_posted()

    def _await_posted(self) -> None:
        """Ask for something that is answered after all that was posted, and changes nothing."""
        with suppress(DeviceError):  # an answer it is all the same
            self.region_read(VFIO_PCI_CONFIG_REGION_INDEX, PCI_VENDOR_ID, 1)

    def ioeventfds(self, index: int) -> Sequence[IoEventFd]:
        with self._lock:
            if index not in self._doorbells:
                size = self.region_info(index).size
                # A server that doesn't know this command may lose the stream over it, as
                # rust-vmm's does. One that does know it has use for more fds than one.
                if not size or self._server.max_msg_fds < 2:
                    return ()
                self._doorbells[index], owners = self._queries.ioeventfds(index, size)
                self._eventfds += owners
                if owners:
                    self._end_posting()
            return self._doorbells[index]

    # Interrupts

    def irq_info(self, index: int) -> IrqInfo:
        with self._lock:
            if index not in self._irqs:
                self._check_index("interrupt kind", index, self.info.num_irqs)
                self._irqs[index] = self._queries.irq(index)
            return self._irqs[index]

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        self._remote_irqs.set(index, action, start, count, data)

    # The whole device. Late imports: most clients want nothing of the first three.

    @property
    def features(self) -> RemoteFeatures:
        with self._lock:
            if self._features is None:
                from .remote_features import RemoteFeatures

                # Bringing a device into another state may take as long as resetting it.
                most, patience = self._max_transfer, self._patience
                self._features = RemoteFeatures(self._queries, self.name, most, patience)
            return self._features

    @property
    def migration(self) -> RemoteMigration:
        with self._lock:
            if self._migration is None:
                from .remote_migration import RemoteMigration

                self._migration = RemoteMigration(self.features)
            return self._migration

    @property
    def dma_logging(self) -> RemoteDmaLogging:
        with self._lock:
            if self._dma_logging is None:
                from .remote_dma_logging import RemoteDmaLogging

                if self._dma is None:
                    raise DeviceGone(f"{self.name}: closed")
                self._dma_logging = RemoteDmaLogging(self.features, self._dma)
            return self._dma_logging

    def reset(self) -> None:
        self._queries.ask("resetting", VFIO_USER_DEVICE_RESET, b"", timeout=self._patience)
        self._remote_irqs.was_reset()

    @property
    def _patience(self) -> float:
        """How many seconds what takes long may take."""
        return _LONG * self._channel.timeout

    def close(self) -> None:
        """Disconnect. The server lets go of our memory and eventfds; the device lives on.

        In a process that was forked meanwhile only what that has of it is closed.
        """
        self._channel.close()
        if os.getpid() == self._pid:
            self._idle_reader.close()
        if self._twin:
            self._twin.close()
        with self._lock:
            close_passed(fd for _, fd in self._regions.values() if fd >= 0)
            for eventfd in self._eventfds:
                eventfd.close()
            self._regions.clear()
            self._doorbells.clear()
            self._eventfds.clear()
        if self._dma:
            self._dma.close()


def _difference(asked: bytes, payload: bytes, data: int) -> str:
    """How the answer to a region access differs from what was asked."""
    if len(payload) != len(asked) + data:
        return f"{len(payload)} bytes of payload instead of {len(asked) + data}"
    offset, index, count = REGION_ACCESS.unpack_from(payload)
    return f"{count} bytes at {offset:#x} of region {index}, which is not what was asked"
