# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Oldest: what the specification allows at its least, in version 0.0."""

from __future__ import annotations

import errno
from collections import deque
from pathlib import Path

from pyvmm.vfio import Device
from tests.servers.dialect import Dialect
from tests.unit.vfio.fakes import DMA_MAP, GET_REGION_INFO, GET_REGION_IO_FDS, SET_IRQS, Received


class Oldest(Dialect):
    """Without capabilities, so one fd in a message at most; nothing optional; replies in pieces.

    It says which areas could be mapped, with no file to map, and takes no files of memory: all DMA
    is by message, and all of that under one id.
    """

    minor = 0
    capabilities = None
    maps = doorbells = False
    ID = 1

    def __init__(self, path: Path, device: Device) -> None:
        super().__init__(path, device)
        self._ids: deque[int] = deque()
        self.commands |= {
            DMA_MAP: lambda asked: asked._replace(fds=[]),
            GET_REGION_IO_FDS: lambda asked: self.answer(asked, error=errno.EOPNOTSUPP),
            SET_IRQS: self._set_irqs,
        }
        self.replies |= {GET_REGION_INFO: lambda _, reply: reply._replace(fds=[])}

    def _set_irqs(self, asked: Received) -> Received:
        if len(asked.fds) > 1:
            self.mistake(f"{len(asked.fds)} fds in a message")
        return asked

    def say(self, message: Received) -> None:
        self.client.in_pieces = True
        super().say(message)

    def server_asks(self, message: Received) -> None:
        self._ids.append(message.id)
        self.say(message._replace(id=self.ID))

    def client_answers(self, message: Received) -> None:
        if message.id != self.ID:
            self.mistake(f"an answer to message {message.id}")
        super().client_answers(message._replace(id=self._ids.popleft()))
