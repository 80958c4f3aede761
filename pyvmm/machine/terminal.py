# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RawTerminal: every key goes to the guest, and the terminal is put back whatever happens."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# What would end the process before __exit__ runs, unless somebody handles it.
_FATAL = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)


class RawTerminal:
    """A context manager: raw mode for the terminal fd; nothing at all if fd is no terminal.

    No echo, no lines, no signals from keys, and output as it is: the guest has a terminal's
    processing of its own. (So lines printed beside the guest's need a carriage return, too.) It is
    put back at the end of the block, when the process is stopped (and raw again when it goes on),
    and before a signal that nobody handles ends the process; for those, enter it on the main
    thread.
    """

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._cooked: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> RawTerminal:
        if os.isatty(self._fd) and self._in_foreground():
            import termios

            with suppress(termios.error):  # it was hung up this moment
                self._cooked = termios.tcgetattr(self._fd)
                self._catch_signals()
                self._make_raw()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Put the terminal back. Idempotent."""
        while self._handlers:
            caught, handler = self._handlers.popitem()
            signal.signal(caught, handler)
        self.restore()
        self._cooked = None

    def restore(self) -> None:
        """Put the terminal back, and leave the rest as it is. From any thread."""
        if self._cooked is not None:
            self._set(self._cooked)

    def _make_raw(self) -> None:
        import termios

        if self._cooked is None:
            return
        iflag, oflag, cflag, lflag, ispeed, ospeed, characters = self._cooked
        iflag &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        characters = [*characters]
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        self._set([iflag, oflag, cflag, lflag, ispeed, ospeed, characters])

    def _set(self, attributes: list[Any]) -> None:
        import termios

        # In the background the terminal is another job's, and touching it would stop us. Not
        # TCSADRAIN: output that the user has stopped would have us wait for good.
        if self._in_foreground():
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True  # not our controlling terminal: no job control there

    # -- signals ------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        self._handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, self._continue)
        for fatal in _FATAL:
            if signal.getsignal(fatal) == signal.SIG_DFL:
                self._handlers[fatal] = signal.signal(fatal, self._die)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._make_raw()

    def _die(self, number: int, _frame: FrameType | None) -> None:
        self.restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
