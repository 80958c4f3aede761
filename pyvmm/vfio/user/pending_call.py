# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Call: a command that was sent, and the thread that waits for its reply."""

from __future__ import annotations

import contextlib
import threading

from .transport import Message


class Call:
    """A command that waits for its reply."""

    __slots__ = ("command", "deadline", "reply", "thread", "wake")

    def __init__(self, command: int, thread: int, deadline: float) -> None:
        """deadline is of time.monotonic()."""
        self.command = command
        self.thread = thread
        self.deadline = deadline
        self.reply: Message | None = None
        # Held while its thread sleeps; None if that thread reads for itself.
        self.wake: threading.Lock | None = None

    def awake(self) -> None:
        """Wake its thread, if it sleeps."""
        if self.wake:
            with contextlib.suppress(RuntimeError):  # it has been woken already
                self.wake.release()
