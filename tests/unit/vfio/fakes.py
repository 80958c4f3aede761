# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A small device for servers to serve, and a scripted peer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from pyvmm.uapi.vfio import (
    VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_IRQ_INFO_AUTOMASKED,
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_BAR2_REGION_INDEX,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS,
    VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from pyvmm.vfio import (
    Device,
    DeviceError,
    DeviceGone,
    DeviceInfo,
    EventFd,
    Fds,
    Interval,
    IoEventFd,
    IrqData,
    IrqInfo,
    RegionInfo,
    VfioError,
)
from pyvmm.vfio.software import DmaTable
from pyvmm.vfio.user import Client

RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
PATIENCE = 30.0

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS = 1, 2, 3, 4, 5, 6
GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET = range(7, 14)
F_REPLY, F_NO_REPLY, F_ERROR = 0x1, 0x10, 0x20


class FakeDevice(Device):
    """A config space, a BAR of plain bytes, a BAR that is partly mappable, INTx and MSI-X."""

    BAR2_SIZE = 0x4000
    BAR2_AREAS = (Interval(0x1000, 0x2000), Interval(0x3000, 0x4000))

    def __init__(self) -> None:
        self.name = "fake"
        self.info = DeviceInfo(
            VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
            VFIO_PCI_NUM_REGIONS,
            VFIO_PCI_NUM_IRQS,
        )
        self.table = DmaTable()
        self.memfd = os.memfd_create("fake-bar2", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memfd, 2 * self.BAR2_SIZE)
        fcntl.fcntl(self.memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self.bytes = {
            VFIO_PCI_CONFIG_REGION_INDEX: bytearray(range(256)),
            VFIO_PCI_BAR0_REGION_INDEX: bytearray(0x400000),
        }
        self.doorbell = EventFd()
        self.resets = 0
        self.irq_calls: list[tuple[int, int, int, int, IrqData]] = []
        self.triggers: dict[tuple[int, int], EventFd] = {}
        self.unmasks: dict[tuple[int, int], EventFd] = {}
        self.on_read: Callable[[int, int, int], None] | None = None
        self.on_write: Callable[[int, int, bytes], None] | None = None

    @property
    def dma(self) -> DmaTable:
        return self.table

    def region_info(self, index: int) -> RegionInfo:
        if index == VFIO_PCI_BAR2_REGION_INDEX:
            flags = RW | VFIO_REGION_INFO_FLAG_MMAP
            return RegionInfo(index, flags, self.BAR2_SIZE, self.BAR2_SIZE, self.BAR2_AREAS)
        if index in self.bytes:
            return RegionInfo(index, RW, len(self.bytes[index]))
        return RegionInfo(index, 0, 0)

    def region_fd(self, index: int) -> int:
        return self.memfd if index == VFIO_PCI_BAR2_REGION_INDEX else -1

    def irq_info(self, index: int) -> IrqInfo:
        if index == VFIO_PCI_INTX_IRQ_INDEX:
            flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
            return IrqInfo(index, flags, 1)
        if index == VFIO_PCI_MSIX_IRQ_INDEX:
            return IrqInfo(index, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, 600)
        return IrqInfo(index, 0, 0)

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        if self.on_read:
            self.on_read(index, offset, size)
        if index == VFIO_PCI_BAR2_REGION_INDEX:
            return os.pread(self.memfd, size, self.BAR2_SIZE + offset)
        return bytes(self.bytes[index][offset : offset + size])

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        if self.on_write:
            self.on_write(index, offset, data)
        if index == VFIO_PCI_BAR2_REGION_INDEX:
            os.pwrite(self.memfd, data, self.BAR2_SIZE + offset)
        else:
            self.bytes[index][offset : offset + len(data)] = data

    def ioeventfds(self, index: int) -> tuple[IoEventFd, ...]:
        if index != VFIO_PCI_BAR0_REGION_INDEX:
            return ()
        fd = self.doorbell.fileno()
        return (IoEventFd(0x1000, 4, fd), IoEventFd(0x1004, 2, fd, 0x1234))

    def set_irqs(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        self.irq_calls.append((index, action, start, count, data))
        if action == VFIO_IRQ_SET_ACTION_TRIGGER:
            if isinstance(data, Fds):
                for vector, fd in enumerate(data, start):
                    _replace(self.triggers, (index, vector), fd)
            elif data is None and not count:
                for eventfds in (self.triggers, self.unmasks):
                    for key in [key for key in eventfds if key[0] == index]:
                        _replace(eventfds, key, -1)
            else:
                for vector in range(start, start + count):
                    if data is None or data[vector - start]:
                        self.triggers[index, vector].signal()
        elif not self.irq_info(index).maskable or (
            isinstance(data, Fds) and action == VFIO_IRQ_SET_ACTION_MASK
        ):
            raise DeviceError.answered("masking", errno.ENOTTY)
        elif isinstance(data, Fds):
            for vector, fd in enumerate(data, start):
                _replace(self.unmasks, (index, vector), fd)

    def reset(self) -> None:
        self.resets += 1
        if self.resets > 100:
            raise DeviceError.answered("resetting", errno.EBUSY)

    def close(self) -> None:
        for eventfds in (self.triggers, self.unmasks):
            for key in list(eventfds):
                _replace(eventfds, key, -1)
        self.table.close()
        self.doorbell.close()
        if self.memfd >= 0:
            os.close(self.memfd)
            self.memfd = -1


def _replace(eventfds: dict[tuple[int, int], EventFd], key: tuple[int, int], fd: int) -> None:
    old = eventfds.pop(key, None)
    if old:
        old.close()
    if fd >= 0:
        eventfds[key] = EventFd.from_fd(fd)


def open_files() -> list[str]:
    files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            files.append(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            continue  # the directory's own
    return sorted(files)


def wait_until(condition: Callable[[], bool]) -> None:
    """For what another thread does and tells nobody of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.001)


class Received(NamedTuple):
    """A message as it came over the wire."""

    id: int
    command: int
    flags: int
    error: int
    payload: bytes
    fds: list[int]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


_BYTES, _PIECE = 64, 5000  # of a message in pieces


class Peer:
    """The other side of a connection, which says just what it is told to; owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.id = 0x100
        self.in_pieces = False
        """Send what has no fds byte by byte, and in larger pieces after the first of them."""
        self.late = 0
        """how many fds have come behind their message's header"""

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        if self.in_pieces and not fds:
            for byte in data[:_BYTES]:
                self.sock.sendall(bytes([byte]))
            data = data[_BYTES:]
            for at in range(0, len(data), _PIECE):
                self.sock.sendall(data[at : at + _PIECE])
            return
        sent = socket.send_fds(self.sock, [data], fds)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def send(
        self,
        command: int,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        *,
        id: int | None = None,
        flags: int = 0,
        error: int = 0,
        size: int | None = None,
    ) -> None:
        """Send a message; a command with the next id unless told otherwise."""
        if id is None:
            self.id += 1
            id = self.id
        size = 16 + len(payload) if size is None else size
        self.send_bytes(struct.pack("=HHIII", id, command, size, flags, error) + payload, fds)

    def receive(self) -> Received:
        data, fds, _, _ = socket.recv_fds(self.sock, 16, 253)
        while 0 < len(data) < 16:
            data += self.sock.recv(16 - len(data))
        if not data:
            raise EOFError
        id, command, size, flags, error = struct.unpack("=HHIII", data)
        payload = b""
        while len(payload) < size - 16:
            more, more_fds, _, _ = socket.recv_fds(self.sock, size - 16 - len(payload), 253)
            if not more:
                raise EOFError
            payload += more
            fds += more_fds
            self.late += len(more_fds)
        return Received(id, command, flags, error, payload, list(fds))

    def ask(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Received:
        """A command's reply, which must be the next message."""
        self.send(command, payload, fds)
        received = self.receive()
        assert (received.id, received.command) == (self.id, command)
        assert received.flags in (F_REPLY, F_REPLY | F_ERROR)
        if received.flags & F_ERROR:
            assert not received.payload
            assert not received.fds
        return received

    def refused(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """The errno a command is refused with."""
        received = self.ask(command, payload, fds)
        received.close()
        assert received.flags == F_REPLY | F_ERROR
        return received.error

    def answered(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """The payload that a command is answered with, without fds."""
        received = self.ask(command, payload, fds)
        received.close()
        assert received.flags == F_REPLY, os.strerror(received.error)
        assert not received.fds
        return received.payload

    def ended(self) -> bool:
        """Whether the other side has hung up, and said nothing more."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Answer = bytes | tuple[bytes, list[int]] | int
"""A good reply's payload, with fds perhaps; or the errno of an error reply."""

CAPABILITIES = b'{"capabilities":{"max_msg_fds":3,"max_data_xfer_size":64}}\0'
GOOD_VERSION = struct.pack("=HH", 0, 1) + CAPABILITIES
GOOD_INFO = struct.pack("=IIII", 16, 3, 9, 5)


class Script:
    """A server in a thread: answers commands by table, and keeps what it was asked."""

    def __init__(self, sock: socket.socket) -> None:
        self.peer = Peer(sock)
        self.answers: dict[int, Answer | Callable[[Received], Answer | None]] = {
            VERSION: GOOD_VERSION,
            GET_INFO: GOOD_INFO,
        }
        self.asked: list[Received] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                received = self.peer.receive()
                received.close()
                self.asked.append(received)
                self.answer(received)

    def answer(self, received: Received) -> None:
        answer = self.answers[received.command]
        if callable(answer):
            found = answer(received)
            if found is None:
                return
            answer = found
        if isinstance(answer, int):
            flags = F_REPLY | F_ERROR
            self.peer.send(received.command, id=received.id, flags=flags, error=answer)
        else:
            payload, fds = answer if isinstance(answer, tuple) else (answer, [])
            self.peer.send(received.command, payload, fds, id=received.id, flags=F_REPLY)

    def requests(self, command: int) -> list[bytes]:
        return [received.payload for received in self.asked if received.command == command]


def assert_gone(client: Client, gone: list[VfioError], error: VfioError) -> None:
    """The connection is over, told once, and for good."""
    assert client.gone is error
    assert gone == [error]
    for use in (
        lambda: client.region_read(0, 0, 4),
        lambda: client.region_write(0, 0, b"1234"),
        lambda: client.reset(),
        lambda: client.disable_irqs(2),
    ):
        with pytest.raises(DeviceGone) as caught:
            use()
        assert str(caught.value) == str(error)
    assert gone == [error]
