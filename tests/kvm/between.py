# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Between: a vfio-user server that is good until it is told not to be.

It stands between a client and our own server of a device, hands on every message, and meddles
with the ones it was told to.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from pyvmm.vfio import Device
from pyvmm.vfio.user import serve
from tests.unit.vfio.fakes import F_REPLY, PATIENCE, Peer, Received

Meddle = Callable[["Between", Received], None]
"""What to do with a client's message, instead of handing it on."""


class Between:
    """Serves device at path to one client; a context manager.

    The message number `after` (from 1) of the kind `command` goes to meddle, and so do all later
    messages of any kind if meddle made us deaf.
    """

    def __init__(
        self, path: Path, device: Device, command: int, meddle: Meddle, *, after: int = 1
    ) -> None:
        self._device = device
        self._command = command
        self._meddle = meddle
        self._left = after
        self._deaf = False
        self.met = threading.Event()
        """The message came."""
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        self._stop, self._stopped = socket.socketpair()
        self._threads = [threading.Thread(target=self._run)]
        self.client: Peer

    def __enter__(self) -> Between:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self._stopped.close()
        self._listening.close()

    def _run(self) -> None:
        if self._listening not in select.select([self._listening, self._stopped], [], [])[0]:
            return
        sock, _ = self._listening.accept()
        ours, theirs = socket.socketpair()
        behind = threading.Thread(target=serve, args=(theirs, self._device))
        behind.start()
        # When one of them hangs up, so do we.
        hang_up = contextlib.suppress(EOFError, OSError)
        with Peer(sock) as self.client, Peer(ours) as server, hang_up:
            self._relay(server)
        behind.join(PATIENCE)
        theirs.close()

    def _relay(self, server: Peer) -> None:
        while True:
            ready, _, _ = select.select([self.client.sock, server.sock, self._stopped], [], [])
            if self._stopped in ready:
                return
            if server.sock in ready:
                self._hand_on(server.receive(), self.client)
            if self.client.sock in ready:
                message = self.client.receive()
                if message.command == self._command:
                    self._left -= 1
                if self._deaf:
                    message.close()
                elif message.command == self._command and not self._left:
                    self.met.set()
                    with contextlib.closing(message):
                        self._meddle(self, message)
                else:
                    self._hand_on(message, server)

    @staticmethod
    def _hand_on(message: Received, to: Peer) -> None:
        to.send(
            message.command,
            message.payload,
            message.fds,
            id=message.id,
            flags=message.flags,
            error=message.error,
        )
        message.close()

    # -- what to do ---------------------------------------------------------------------------

    def fall_silent(self, _message: Received) -> None:
        self._deaf = True

    def hang_up(self, _message: Received) -> None:
        raise EOFError

    def hang_up_half_way(self, message: Received) -> None:
        self.client.send(message.command, b"", id=message.id, flags=F_REPLY, size=100)
        raise EOFError

    def send_nonsense(self, _message: Received) -> None:
        self.client.send_bytes(b"\0" * 64)

    def answer_another(self, message: Received) -> None:
        """A reply to a message that nobody sent."""
        self.client.send(message.command, id=message.id ^ 0x5555, flags=F_REPLY)

    def answer_too_little(self, message: Received) -> None:
        self.client.send(message.command, b"\0", id=message.id, flags=F_REPLY)

    def answer_too_much(self, message: Received) -> None:
        payload = message.payload + bytes(5000)
        self.client.send(message.command, payload, id=message.id, flags=F_REPLY)

    def refuse(self, message: Received) -> None:
        self.client.send(message.command, id=message.id, flags=0x21, error=5)  # EIO
