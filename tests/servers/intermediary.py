# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Intermediary: stands between a vfio-user client and our own server of a device."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pyvmm.vfio import Device
from pyvmm.vfio.user import serve
from tests.unit.vfio.fakes import PATIENCE, Peer, Received


class Intermediary:
    """Serves a device at a path to one client, and hands on each message; a context manager.

    What derives from it does something else with some of them.
    """

    def __init__(self, path: Path, device: Device) -> None:
        self.device = device
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self.watched: dict[int, Callable[[], None]] = {}
        """What else to do, by the descriptor that is readable then."""
        self.client: Peer
        self.server: Peer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._stopped.close()
        self._listening.close()

    def _run(self) -> None:
        if self._listening not in select.select([self._listening, self._stopped], [], [])[0]:
            return
        sock, _ = self._listening.accept()
        ours, theirs = socket.socketpair()
        behind = threading.Thread(target=serve, args=(theirs, self.device))
        behind.start()
        # When one of them hangs up, so do we.
        hang_up = contextlib.suppress(EOFError, OSError)
        with Peer(sock) as self.client, Peer(ours) as self.server, hang_up:
            self._relay()
        behind.join(PATIENCE)
        theirs.close()

    def _relay(self) -> None:
        while True:
            client, server = self.client.sock.fileno(), self.server.sock.fileno()
            stopped = self._stopped.fileno()
            ready, _, _ = select.select([client, server, stopped, *self.watched], [], [])
            if stopped in ready:
                return
            for fd in self.watched.keys() & set(ready):
                self.watched[fd]()
            if server in ready:
                with contextlib.closing(self.server.receive()) as message:
                    self.from_server(message)
            if client in ready:
                with contextlib.closing(self.client.receive()) as message:
                    self.from_client(message)

    def from_client(self, message: Received) -> None:
        """What to do with a command, or with an answer to a server's."""
        hand_on(message, self.server)

    def from_server(self, message: Received) -> None:
        """What to do with a reply, or with a command of the server's."""
        hand_on(message, self.client)


def hand_on(message: Received, to: Peer) -> None:
    to.send(
        message.command,
        message.payload,
        message.fds,
        id=message.id,
        flags=message.flags,
        error=message.error,
    )
