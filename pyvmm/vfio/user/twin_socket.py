# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""TwinSocket: where a client hears its server's commands, if the server has a socket for them.

Specification: VFIO_USER_VERSION, twin_socket. DMA by message doesn't come between a command and
its reply then, and is served while there is neither.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from ..errors import ProtocolError, VfioError
from ..passed_fds import close_passed, close_socket
from .answer import Handler
from .channel import Channel
from .idle_reader import IdleReader
from .protocol import Capabilities
from .transport import Message


class TwinSocket:
    """A thread serves it until it is closed or the server has gone."""

    def __init__(
        self,
        sock: socket.socket,
        server: str,
        handler: Handler,
        timeout: float,
        on_gone: Callable[[VfioError], None],
    ) -> None:
        """Take over the socket. on_gone is called, once, when the server hangs up or lies, on the
        thread.
        """
        self._pid = os.getpid()
        self._channel = Channel(sock, server, handler, timeout=timeout, on_gone=on_gone)
        try:
            name = f"{server} (twin socket)"
            self._reader = IdleReader(self._channel.fileno(), name, self._channel.idle)
        except BaseException:
            self._channel.close()
            raise
        self._channel.watched_by(self._reader)
        self._reader.idle()

    def hang_up(self) -> None:
        self._channel.hang_up()

    def close(self) -> None:
        """Idempotent."""
        self._channel.close()
        if os.getpid() == self._pid:
            self._reader.close()


def take_twin(reply: Message, capabilities: Capabilities) -> socket.socket | None:
    """The twin socket out of a server's VERSION, if there is one. Raises ProtocolError."""
    fds = reply.take_fds()
    try:
        if not capabilities.twin_socket:
            if fds:
                raise ProtocolError(f"{len(fds)} fds, and no twin socket among them")
            return None
        index = capabilities.twin_fd_index
        if index is None or index >= len(fds):
            raise ProtocolError(f"a twin socket that is fd {index} of {len(fds)}")
        try:
            sock = socket.socket(fileno=fds[index])
        except OSError:
            raise ProtocolError("a twin socket that is no socket") from None
        del fds[index]
        if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
            close_socket(sock)
            raise ProtocolError("a twin socket that is no UNIX stream socket")
        return sock
    finally:
        close_passed(fds)
