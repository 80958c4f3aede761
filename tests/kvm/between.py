# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Between: a vfio-user server that is good until it is told not to be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pyvmm.vfio import Device
from tests.servers.intermediary import Intermediary
from tests.unit.vfio.fakes import F_REPLY, Received

Meddle = Callable[["Between", Received], None]
"""What to do with a client's message, instead of handing it on."""

_SILENCE = 1.0  # long enough for a busy machine to answer in


def patience(meddle: Meddle) -> float:
    """How many seconds a client is to wait for each answer: until none comes, or for ever."""
    return _SILENCE if meddle is Between.fall_silent else 30.0


class Between(Intermediary):
    """Serves device at path to one client; a context manager.

    The message number `after` (from 1) of the kind `command` goes to meddle, and so do all later
    messages of any kind if meddle made us deaf.
    """

    def __init__(
        self, path: Path, device: Device, command: int, meddle: Meddle, *, after: int = 1
    ) -> None:
        super().__init__(path, device)
        self._command = command
        self._meddle = meddle
        self._left = after
        self._deaf = False
        self.met = threading.Event()
        """The message came."""

    def from_client(self, message: Received) -> None:
        if message.command == self._command:
            self._left -= 1
        if self._deaf:
            return
        if message.command == self._command and not self._left:
            self.met.set()
            self._meddle(self, message)
        else:
            super().from_client(message)

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
