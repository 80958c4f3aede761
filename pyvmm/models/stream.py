# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Stream: bytes between a model and a UNIX socket at which one client at a time may be."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from pyvmm.vfio import EventFd
from pyvmm.vfio.listening_socket import ListeningSocket
from pyvmm.vfio.passed_fds import close_socket

from .errors import ModelError

_ENOUGH = 64 << 10  # bytes of each direction that wait for the other side
_PIECE = 16 << 10
_LAST_SECONDS = 1.0  # that a client has for what is left when all ends
_RETRY_MS = 1000  # where the process has no file descriptor left


class Stream:
    """Owns the socket, its file, and the thread that serves it.

    A client that doesn't read holds up what is said, which the model sees by `room`; while there
    is none, what is said is lost. One that has closed its own direction only is still sent what
    there is. A second one waits until the first has gone.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        """changed is called, on the stream's thread, when there is something to take, or room.

        Raises CannotListen, VfioError, ModelError.
        """
        self._changed = changed
        self._lock = threading.Lock()
        self._heard = bytearray()
        self._said = bytearray()
        self._client: socket.socket | None = None
        self._closing = False
        self._wake = EventFd()
        try:
            self._listening = ListeningSocket(path)
        except BaseException:
            self._wake.close()
            raise
        self._listening.sock.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"stream at {path}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._listening.close()
            self._wake.close()
            cure = "raise the limit on processes (ulimit -u)"
            raise ModelError(f"serving {path}: {error}; {cure}") from None

    @property
    def heard(self) -> int:
        """Bytes that wait to be taken."""
        return len(self._heard)

    @property
    def room(self) -> bool:
        """Whether something may be said without making too much of it wait."""
        return len(self._said) < _ENOUGH

    def take(self, most: int) -> bytes:
        """What the client has sent, up to so many bytes."""
        with self._lock:
            data = bytes(self._heard[:most])
            del self._heard[:most]
        self._wake.signal()
        return data

    def say(self, data: bytes) -> None:
        """Send data to the client, if there is one. Waits for nobody."""
        with self._lock:
            if self._client is not None:
                self._said += data
        self._wake.signal()

    def close(self) -> None:
        """End it, and remove the socket's file; a client has a second for the rest. Idempotent."""
        if not self._closing:
            self._closing = True
            self._wake.signal()
            self._thread.join()
            self._listening.close()
            self._wake.close()

    # -- on the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            client = self._accepted()
            if client is None:
                continue
            client.setblocking(False)
            with self._lock:
                self._client = client
            with suppress(OSError):  # it has gone
                self._serve(client)
            with self._lock:
                self._client = None
                self._said.clear()
            close_socket(client)
            self._changed()

    def _accepted(self) -> socket.socket | None:
        listening = self._listening.sock
        self._wait(listening, select.POLLIN)
        try:
            return listening.accept()[0]
        except BlockingIOError:
            return None
        except OSError:
            self._wait(None, 0, _RETRY_MS)
            return None

    def _serve(self, client: socket.socket) -> None:
        """Until it has gone and all is taken that it has sent. Raises OSError."""
        speaks, hears = True, True
        while (speaks or hears) and not self._closing:
            reads = speaks and len(self._heard) < _ENOUGH
            writes = hears and bool(self._said)
            # One that has gone is always ready: there is only room to wait for then.
            sock = client if hears or reads else None
            ready = self._wait(sock, select.POLLIN * reads | select.POLLOUT * writes)
            if ready & (select.POLLHUP | select.POLLERR):
                hears = False
            elif ready & select.POLLOUT:
                with self._lock:
                    del self._said[: client.send(self._said)]
                self._changed()
            if reads and ready & ~select.POLLOUT:
                data = client.recv(_PIECE)
                speaks = bool(data)
                with self._lock:
                    self._heard += data
                self._changed()
        if hears and self._said:  # a guest's last words
            client.settimeout(_LAST_SECONDS)
            client.sendall(self._said)

    def _wait(self, sock: socket.socket | None, events: int, timeout: int | None = None) -> int:
        """Wait for events of a socket, or for a change on our side; what there is of the former."""
        poll = select.poll()
        poll.register(self._wake.fileno(), select.POLLIN)
        if sock is not None:
            poll.register(sock.fileno(), events)
        ready = dict(poll.poll(timeout))
        if self._wake.fileno() in ready:
            self._wake.read()
        return ready.get(sock.fileno(), 0) if sock is not None else 0
