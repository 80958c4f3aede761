# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Latch: something that happens once, to wait for, and that a signal handler may bring about.

threading.Event won't do: a handler that runs while its own thread is inside wait() may find the
event's lock held, by the very thread that it keeps from going on.
"""

from __future__ import annotations

import threading


class Latch:
    """Shut at first; whoever opens it lets all through, and it stays open."""

    __slots__ = ("_lock", "_shut")

    def __init__(self) -> None:
        self._shut = threading.Lock()  # who opens it takes it, for good
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """From any thread or signal handler. Idempotent."""
        if self._shut.acquire(blocking=False):
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is open, at most timeout seconds; whether it is."""
        if not self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return False
        self._lock.release()
        return True
