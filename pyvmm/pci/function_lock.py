# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""FunctionLock: a function's mutex, with one piece of work that nobody has to wait for.

The work is what follows from the loss of the device. That is found out on any thread: on a
vCPU's, in the midst of a change to this very function, or on one that the lock's holder waits
for. So whoever brings the news doesn't wait for the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class FunctionLock:
    """A mutex, as a context manager; not reentrant. request() has work() done under it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._due = False
        self._mutex = threading.Lock()

    def __enter__(self) -> None:
        self._mutex.acquire()

    def __exit__(self, *_: object) -> None:
        self._mutex.release()
        self._do_what_is_due()

    def request(self) -> None:
        """Have work() done: here and now, or by the lock's holder, as soon as that lets go."""
        self._due = True
        self._do_what_is_due()

    def _do_what_is_due(self) -> None:
        # If it is taken, then by somebody who comes here after this.
        while self._due and self._mutex.acquire(blocking=False):
            try:
                self._due = False
                self._work()
            finally:
                self._mutex.release()
