# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Stdio: a console's serial line on this process's stdin and stdout."""

from __future__ import annotations

import os
from contextlib import ExitStack

from .input_forwarder import InputForwarder
from .sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .console import Console
    from .terminal import RawTerminal

_STDIN, _STDOUT = 0, 1


class Stdio:
    """A context manager: the guest's output on stdout, stdin for its input.

    Where stdin is a terminal, it is raw meanwhile and Ctrl-A has its meanings (keys.py): quit(why)
    is called, on another thread, for Ctrl-A X, and when the terminal is hung up. notice takes
    lines for people. The console, which owns the sink, writes out what is left of the output when
    it is closed.
    """

    def __init__(
        self, console: Console, *, quit: Callable[[str], None], notice: Callable[[str], None]
    ) -> None:
        self._console = console
        self._quit = quit
        self._notice = notice
        self._terminal: RawTerminal | None = None
        self._parts = ExitStack()

    def __enter__(self) -> Stdio:
        console = self._console
        console.attach(Sink(_STDOUT, "stdout", self._notice))
        with ExitStack() as parts:
            if os.isatty(_STDIN):
                # Nobody is there any more to end the guest by hand.
                forwarder = InputForwarder(
                    _STDIN, self._keyboard(parts), lambda: self._quit("the terminal was hung up")
                )
            else:
                forwarder = InputForwarder(_STDIN, console.offer)
            parts.callback(forwarder.close)
            console.on_room = forwarder.room
            forwarder.start()
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._console.on_room = None
        self._parts.close()

    def restore_terminal(self) -> None:
        """Put the terminal back, if there is one, before the process is ended. From any thread."""
        if self._terminal is not None:
            self._terminal.restore()

    def _keyboard(self, parts: ExitStack) -> Callable[[bytes], int]:
        """Prepare the terminal; returns what to do with the keys."""
        from .keys import HELP, QUIT, EscapeKeys
        from .terminal import RawTerminal

        self._terminal = parts.enter_context(RawTerminal(_STDIN))
        escape = EscapeKeys()

        def typed(keys: bytes) -> int:
            for_guest, commands = escape.split(keys)
            # What it does not take is lost: keys are not left waiting, or else a guest that
            # reads none would keep Ctrl-A X from being read.
            self._console.offer(for_guest)
            for command in commands:
                if command == QUIT:
                    self._quit("Ctrl-A X")
                else:
                    self._notice(f"keys:\n{HELP}")
            return len(keys)

        return typed
