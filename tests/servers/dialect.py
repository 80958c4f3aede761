# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Dialect: a vfio-user server that speaks as another implementation does.

Our own server has the device; what is said either way is translated. Each implementation's module
tells what it does differently, as it was observed or read in its source.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pyvmm.vfio import Device
from tests.servers.intermediary import Intermediary, hand_on
from tests.unit.vfio.fakes import F_ERROR, F_NO_REPLY, F_REPLY, VERSION, Received

_VERSION = struct.Struct("=HH")
_TYPE = 0xF


class Dialect(Intermediary):
    """What all have in common. Derived classes say the rest, by command.

    commands are taken instead of being handed on, replies (by the command that was handed on) are
    translated. Each is given the message, and what it returns, if anything, is handed on.
    """

    minor: ClassVar[int] = 1
    capabilities: ClassVar[dict[str, object] | None] = {}
    """of its VERSION; None: it sends nothing but the numbers"""
    twin: ClassVar[bool] = False
    """It takes the offer of a socket for its own commands."""
    maps: ClassVar[bool] = True
    """It passes files of BARs."""
    doorbells: ClassVar[bool] = True
    """It passes ioeventfds."""

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self.mistakes: list[str] = []
        """what the client said that the implementation can't live with"""
        self.heard: set[int] = set()
        """the commands that came"""
        self.commands: dict[int, Callable[[Received], Received | None]] = {
            VERSION: self._client_version
        }
        self.replies: dict[int, Callable[[Received, Received], Received]] = {
            VERSION: self._server_version
        }
        self._asked: dict[int, Received] = {}

    # -- what derived classes say it with ------------------------------------------------------

    def answer(self, message: Received, payload: bytes = b"", error: int | None = None) -> None:
        """Answer a command, if that is wanted: well, or by an error."""
        if message.flags & F_NO_REPLY:
            return
        flags = F_REPLY if error is None else F_REPLY | F_ERROR
        self.say(Received(message.id, message.command, flags, error or 0, payload, []))

    def say(self, message: Received) -> None:
        """Send something to the client."""
        hand_on(message, self.client)

    def mistake(self, what: str) -> None:
        self.mistakes.append(what)

    # -- both ways -----------------------------------------------------------------------------

    def from_client(self, message: Received) -> None:
        if self.client.late:
            self.mistake(f"fds behind the header of command {message.command}")
            self.client.late = 0
        if message.flags & _TYPE == F_REPLY:
            self.client_answers(message)
            return
        self.heard.add(message.command)
        take = self.commands.get(message.command)
        taken = take(message) if take else message
        if taken is not None:
            self._asked[message.id] = message
            hand_on(taken, self.server)

    def from_server(self, message: Received) -> None:
        if message.flags & _TYPE != F_REPLY:
            self.server_asks(message)
            return
        asked = self._asked.pop(message.id)
        translate = self.replies.get(message.command)
        if translate and not message.flags & F_ERROR:
            message = translate(asked, message)
        self.say(message)

    def server_asks(self, message: Received) -> None:
        """A command of the server's: DMA by message."""
        self.say(message)

    def client_answers(self, message: Received) -> None:
        """The reply to one."""
        hand_on(message, self.server)

    # -- the beginning -------------------------------------------------------------------------

    def _client_version(self, message: Received) -> Received | None:
        numbers, text = message.payload[: _VERSION.size], message.payload[_VERSION.size :]
        if not text.endswith(b"\0"):
            self.mistake("capabilities that don't end in a NUL")
            self.answer(message, error=errno.EINVAL)
            return None
        offered = json.loads(text[:-1])
        if not self.twin:
            offered["capabilities"].pop("twin_socket", None)
        return message._replace(payload=numbers + json.dumps(offered).encode() + b"\0")

    def _server_version(self, _asked: Received, message: Received) -> Received:
        numbers = _VERSION.pack(0, self.minor)
        if self.capabilities is None:
            return message._replace(payload=numbers)
        told = dict(self.capabilities)
        ours = json.loads(message.payload[_VERSION.size : -1])["capabilities"]
        if "twin_socket" in ours:
            told["twin_socket"] = ours["twin_socket"]
        text = json.dumps({"capabilities": told}).encode()
        return message._replace(payload=numbers + text + b"\0")
