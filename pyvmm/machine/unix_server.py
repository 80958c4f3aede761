# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""UnixServer: a UNIX socket at which one client at a time is served with bytes, both ways.

A client may go and come again, and may be of the kind that never reads: what it is sent waits in
the backlog of its Sink, and is lost beyond that.
"""

from __future__ import annotations

import os
import select
import threading

from pyvmm.vfio.listening_socket import ListeningSocket

from .errors import ConsoleError
from .input_forwarder import InputForwarder
from .sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Service(Protocol):
        """What is served; called on the server's thread."""

        what: str
        """What a client is sent, for messages."""

        def begin(self, sink: Sink, room: Callable[[], None]) -> None:
            """A client has come; sink sends to it.

            room() has what take() didn't take offered again.
            """

        def take(self, sink: Sink, data: bytes) -> int:
            """The client has sent data; returns how many bytes of it were taken."""

        def end(self, sink: Sink, *, gone: bool) -> None:
            """It is served no more. sink is to be closed; there is nobody behind it if gone."""


# Seconds to wait with accepting where the process has no file descriptor left.
_RETRY_MS = 1000


class UnixServer:
    """Owns the socket, its file, and the thread that serves; a context manager.

    A second client waits until the first one has gone. One that has closed its own direction only
    is still sent what there is.
    """

    def __init__(self, path: str, service: Service, notice: Callable[[str], None]) -> None:
        """Listen at path. Raises CannotListen, ConsoleError. notice is the Sinks'."""
        self.path = path
        self._service = service
        self._notice = notice
        self._lock = threading.Lock()
        self._closing = False
        self._forwarder: InputForwarder | None = None
        self._listening = ListeningSocket(path)
        self._wake = -1
        self._thread = threading.Thread(target=self._run, name=f"clients of {path}", daemon=True)
        try:
            # Signalled once, to close.
            self._wake = os.eventfd(0, os.EFD_CLOEXEC)
            self._thread.start()
        except (OSError, RuntimeError) as error:
            self.close()
            what = f"serving clients at {path}: {error}"
            raise ConsoleError(f"{what}; raise the limits on open files and processes") from None

    def __enter__(self) -> UnixServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Serve nobody any more, and remove the file. Idempotent."""
        if self._closing:
            return
        with self._lock:
            self._closing = True
            if self._forwarder is not None:
                self._forwarder.stop()
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)
        if self._thread.ident is not None:
            self._thread.join()
        if self._wake >= 0:
            os.close(self._wake)
        self._listening.close()

    # -- on the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        listening = self._listening.sock
        while self._wait(listening.fileno(), select.POLLIN):
            try:
                client, _ = listening.accept()
            except OSError:
                self._wait(-1, 0, _RETRY_MS)
                continue
            client.setblocking(False)
            fd = client.detach()
            name = f"the client at {self.path}"
            self._serve(
                fd, Sink(fd, name, self._notice, owned=True, client=True, what=self._service.what)
            )

    def _serve(self, fd: int, sink: Sink) -> None:
        gone = False
        try:
            forwarder = InputForwarder(fd, lambda data: self._service.take(sink, data))
        except ConsoleError as error:
            self._notice(str(error))
            sink.close()
            return
        self._service.begin(sink, forwarder.room)
        try:
            with self._lock:
                self._forwarder = forwarder
                if self._closing:
                    forwarder.stop()
            # At the end of what it sends there may still be something that it is to be sent.
            gone = forwarder.run() and self._wait(fd, 0)
        finally:
            with self._lock:
                self._forwarder = None
            forwarder.close()
            self._service.end(sink, gone=gone)

    def _wait(self, fd: int, events: int, timeout: int | None = None) -> bool:
        """Wait for events or a hang-up of fd; False if it's close() that came instead."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if fd >= 0:
            poll.register(fd, events)
        return (self._wake, select.POLLIN) not in poll.poll(timeout)
