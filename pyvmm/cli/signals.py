# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""StopSignals: SIGINT, SIGTERM and SIGHUP end a command in order, and are its exit status."""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal came before there was anything to stop: set-up is to be undone."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignals:
    """A context manager for the main thread. number is the first signal that came, or 0.

    first is called with that number, in the handler or on another thread. Before call() the first
    signal raises Interrupted; after it there is something to call instead.
    Signals that are ignored stay so: a shell's background jobs are not for Ctrl-C, and what nohup
    starts is not for SIGHUP.
    """

    def __init__(self, first: Callable[[int], None] = lambda _: None) -> None:
        self.number = 0
        self._first = first
        self._handlers: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        self._pipe: tuple[int, ...] = ()

    def __enter__(self) -> StopSignals:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._caught)
        # Whoever started us may wait for signals by itself, and have them blocked, as a child has.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)
        return self

    def call(self, stop: Callable[[str], None]) -> None:
        """From now on call stop with the name of each signal, on a thread of its own.

        Python's handlers won't do while the main thread waits: the kernel may hand a signal to
        any other thread, which wakes nobody.
        """
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        thread = threading.Thread(target=self._listen, args=(stop,), name="signals", daemon=True)
        thread.start()
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._thread = thread
        if self.number:
            # Python drops what is raised while it runs a destructor, Interrupted too.
            stop(signal.Signals(self.number).name)

    def __exit__(self, *_: object) -> None:
        if self._pipe:
            signal.set_wakeup_fd(-1)
            reader, writer = self._pipe
            os.close(writer)
            if self._thread is not None:
                self._thread.join()
            os.close(reader)
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        if self._thread is None and not self.number:
            self.number = number
            self._first(number)
            raise Interrupted(number)

    def _listen(self, stop: Callable[[str], None]) -> None:
        while numbers := os.read(self._pipe[0], 64):
            for number in numbers:
                if number in self._handlers:
                    if not self.number:
                        self.number = number
                        self._first(number)
                    stop(signal.Signals(number).name)
