# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Watchdog: a command that is to end does end, whoever holds it up.

A thread can sit where nothing gets it out: in the handler of a model that never returns, or in
a system call whose end is somebody else's to decide. The command waits for its threads, so it
would sit there too.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from contextlib import suppress

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0
"""Seconds; more than all that ends in order needs."""


class Watchdog:
    """A context manager. Once it is armed, the process ends soon, by force if it has to."""

    def __init__(self, patience: float | None = None) -> None:
        """patience is in seconds."""
        self.restore: Callable[[], None] = lambda: None
        """What else has to be put back when the process is ended by force: the terminal."""
        self._patience = PATIENCE if patience is None else patience
        self._armed = _thread.allocate_lock()  # who arms it takes it, for good
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()

    def arm(self, status: int, why: str) -> None:
        """The command ends now, and why; status is for the case that it has to be forced to.

        From any thread or signal handler; the first counts. After disarm() it does nothing.
        """
        if self._armed.acquire(blocking=False):
            # A threading.Thread takes locks, which whom a signal handler interrupts may hold.
            with suppress(RuntimeError):  # no thread left to start
                _thread.start_new_thread(self._watch, (status, why))

    def signalled(self, number: int) -> None:
        """Armed by a signal."""
        self.arm(128 + number, signal.Signals(number).name)

    def disarm(self) -> None:
        """The end has come in order, or what is left has limits of its own. Idempotent."""
        with suppress(RuntimeError):  # somebody else has released it
            self._ended.release()

    def _watch(self, status: int, why: str) -> None:
        if self._ended.acquire(timeout=self._patience):
            return
        try:
            main = threading.main_thread()
            others = [thread.name for thread in threading.enumerate() if thread is not main]
            say(
                f"error: {why}; ending in order takes more than {self._patience:g} s, so this is "
                f"by force (threads that still run: {', '.join(others) or 'none but its own'})"
            )
            self.restore()
        finally:
            os._exit(status)
