# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mailbox: a socket on which messages come as lines, and a thread that takes them in.

Whoever expects a message waits for one that fits; what nobody expects is kept for a while. Any
thread may wait, and a poll loop too, by fileno().
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import LabEnded, LabSilent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

T = TypeVar("T")
R = TypeVar("R")

_KEPT = 1000
_CHUNK = 1 << 16


class Mailbox(Generic[T]):
    """Owns the socket and the thread. name is for error messages."""

    def __init__(self, sock: socket.socket, parse: Callable[[bytes], T | None], name: str) -> None:
        """parse makes a message of a line, or None of one that is none."""
        self.name = name
        self.ended = False
        self._sock = sock
        self._parse = parse
        self._messages: deque[T] = deque(maxlen=_KEPT)
        self._changed = threading.Condition(threading.RLock())
        self._sending = threading.Lock()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._receive, name=name, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when something has come since acknowledge(). Raises LabEnded once closed."""
        with self._changed:
            if self._event < 0:
                raise self._gone()
            return self._event

    def wake(self) -> None:
        """Be readable, without a message."""
        with self._changed:
            if self._event >= 0:
                os.eventfd_write(self._event, 1)

    def acknowledge(self) -> None:
        with self._changed, suppress(BlockingIOError):
            if self._event >= 0:
                os.eventfd_read(self._event)

    def send(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        """Send a whole message, with descriptors. Raises LabEnded."""
        import socket

        try:
            with self._sending:
                if fds:
                    sent = socket.send_fds(self._sock, [data], list(fds))
                    data = data[sent:]
                self._sock.sendall(data)
        except OSError:
            raise self._gone() from None

    def take(self, fits: Callable[[T], R | None]) -> R | None:
        """What fits() makes of the first message for which that isn't None; without a wait."""
        with self._changed:
            for message in self._messages:
                result = fits(message)
                if result is not None:
                    self._messages.remove(message)
                    return result
        return None

    def wait(self, fits: Callable[[T], R | None], seconds: float, what: str) -> R:
        """As take(), once there is one. Raises LabEnded or, after so many seconds, LabSilent."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                result = self.take(fits)
                if result is not None:
                    return result
                if self.ended:
                    raise self._gone()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LabSilent(f"{self.name}: no {what} within {seconds:.0f} s")
                self._changed.wait(left)

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(SHUT_RDWR)
        self._thread.join()
        self._sock.close()
        with self._changed:
            if self._event >= 0:
                os.close(self._event)
                self._event = -1

    def _gone(self) -> LabEnded:
        return LabEnded(f"{self.name}: the lab's machine has ended")

    def _receive(self) -> None:
        rest = b""
        while chunk := self._chunk():
            *lines, rest = (rest + chunk).split(b"\n")
            messages = [message for line in lines if (message := self._parse(line)) is not None]
            self._deliver(messages)
        self._deliver([], ended=True)

    def _chunk(self) -> bytes:
        try:
            return self._sock.recv(_CHUNK)
        except OSError:
            return b""

    def _deliver(self, messages: list[T], *, ended: bool = False) -> None:
        with self._changed:
            self._messages.extend(messages)
            self.ended = ended
            os.eventfd_write(self._event, 1)
            self._changed.notify_all()
