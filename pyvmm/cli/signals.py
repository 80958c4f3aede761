# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""StopSignals: SIGINT, SIGTERM and SIGHUP end a command in order, and are its exit status."""

from __future__ import annotations

import signal

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

    Once `stop` is set it is called with each signal's name; before, the first one raises
    Interrupted. Signals that are ignored stay so: a shell's background jobs are not for Ctrl-C,
    and what nohup starts is not for SIGHUP.
    """

    def __init__(self) -> None:
        self.number = 0
        self.stop: Callable[[str], None] | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        first = not self.number
        if first:
            self.number = number
        if self.stop is not None:
            self.stop(signal.Signals(number).name)
        elif first:
            raise Interrupted(number)
