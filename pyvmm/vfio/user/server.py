# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Server: makes any vfio.Device available to other processes, one client after another."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ...uapi.ioctl import failure
from .. import eventfd_signal
from ..device import Device
from ..errors import DeviceGone, VfioError
from ..eventfd import EventFd
from ..listening_socket import ListeningSocket
from ..passed_fds import close_socket, crowded
from .channel import DEFAULT_TIMEOUT
from .session import Session
from .statistics import Statistics

# How long to wait with accepting when the process has no file descriptor left for it, or too many
# of earlier clients that it can't close.
_RETRY = 1.0


class Server:
    """Serves a device at a path or on a socket; a context manager.

    One client at a time: others wait to be accepted. When a client goes, its memory and its
    eventfds are let go, and the device is reset for the next, with bus mastering off.
    """

    def __init__(
        self,
        device: Device,
        at: ListeningSocket | socket.socket,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        on_client: Callable[[VfioError | None], None] = lambda _: None,
    ) -> None:
        """Prepare to serve at a listening socket, or one client on a connected one.

        The server owns the socket, not the device. timeout is how many seconds a client may
        take to answer DMA by message, and to begin. on_client is told of each client that
        connects (None) and of why it is gone, before the next.
        """
        eventfd_signal.prepare()
        self.statistics = Statistics()
        self._device = device
        self._at = at
        self._sock = at.sock if isinstance(at, ListeningSocket) else at
        self._timeout = timeout
        self._on_client = on_client
        self._session: Session | None = None
        self._stopping = False
        self._stop = EventFd()

    @classmethod
    def listen(
        cls,
        device: Device,
        path: str | os.PathLike[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        on_client: Callable[[VfioError | None], None] = lambda _: None,
    ) -> Server:
        """Listen at a path; clients may connect from now on. Raises VfioError."""
        listening = ListeningSocket(path)
        try:
            return cls(device, listening, timeout=timeout, on_client=on_client)
        except BaseException:
            listening.close()
            raise

    def serve_forever(self) -> None:
        """Serve until stop(), or until a connected socket's client goes.

        Raises VfioError if the process has no file descriptor left for that client.
        """
        # For log_failure(): nothing can be loaded once a client has used up our descriptors.
        # Here rather than above, since a client may connect meanwhile: it listens already.
        import logging  # noqa: F401

        if not self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            try:
                sock = self._sock.dup()
            except OSError as error:
                doing = f"serving {self._device.name}"
                raise VfioError(failure(doing, "dup", error.errno or 0)) from None
            self._serve(sock)
            return
        self._sock.setblocking(False)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while not self._stopping:
            poll.poll()
            if self._stopping:
                return
            if crowded():
                self._stop.wait(_RETRY)
                continue
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError:
                self._stop.wait(_RETRY)
                continue
            self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        session = Session(sock, self._device, self._timeout, self.statistics)
        self._session = session
        self.statistics.clients += 1
        self.statistics.connected = True
        if self._stopping:  # stop() may just have missed it
            session.hang_up()
        self._on_client(None)
        gone = session.run()
        self._session = None
        self.statistics.connected = False
        self._on_client(gone or DeviceGone(f"{self._device.name}: the server was stopped"))

    def stop(self) -> None:
        """Have serve_forever() return soon. Any thread and any signal handler may call it."""
        self._stopping = True
        if self._stop.fileno() >= 0:
            self._stop.signal()
        session = self._session
        if session:
            session.hang_up()

    def close(self) -> None:
        """Stop listening, and remove the socket's file. Idempotent."""
        self._stopping = True
        if isinstance(self._at, ListeningSocket):
            self._at.close()
        else:
            close_socket(self._at)
        self._stop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve(at: ListeningSocket | socket.socket, device: Device) -> None:
    """Serve a device on a socket until its clients, or the one it is connected to, are gone."""
    with contextlib.closing(Server(device, at)) as server:
        server.serve_forever()
