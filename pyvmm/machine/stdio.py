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

    from .line_editor import LineEditor
    from .machine import Machine
    from .terminal import RawTerminal

_STDIN, _STDOUT = 0, 1

_WELCOME = "the monitor: `help` lists its commands, Ctrl-A C goes back to the guest\r\n"


class Stdio:
    """A context manager: the guest's output on stdout, stdin for its input.

    Where stdin is a terminal, it is raw meanwhile and Ctrl-A has its meanings (keys.py): the run
    is stopped for Ctrl-A X, and when the terminal is hung up. notice takes lines for people. The
    console, which owns the sink, writes out what is left of the output when it is closed.
    """

    def __init__(self, vm: Machine, notice: Callable[[str], None]) -> None:
        self._vm = vm
        self._console = vm.console
        self._notice = notice
        self._terminal: RawTerminal | None = None
        self._screen: Sink | None = None
        self._editor: LineEditor | None = None
        self._in_monitor = False
        self.hung_up = False
        """The terminal has gone, and with it whoever could end the guest by hand."""
        self._parts = ExitStack()

    def __enter__(self) -> Stdio:
        console = self._console
        output = Sink(_STDOUT, "stdout", self._notice)
        console.attach(output)
        with ExitStack() as parts:
            if os.isatty(_STDIN):
                keyboard = self._keyboard(parts, output)
                forwarder = InputForwarder(_STDIN, keyboard, self._on_hang_up)
            else:
                forwarder = InputForwarder(_STDIN, console.offer)
            parts.callback(forwarder.close)
            console.on_room = forwarder.room
            forwarder.start()
            self._parts = parts.pop_all()
        return self

    def _on_hang_up(self) -> None:
        self.hung_up = True
        self._vm.request_stop("the terminal was hung up")

    def __exit__(self, *_: object) -> None:
        self._console.on_room = None
        self._parts.close()

    def restore_terminal(self) -> None:
        """Put the terminal back, if there is one, before the process is ended. From any thread."""
        if self._terminal is not None:
            self._terminal.restore()

    # -- the keyboard -----------------------------------------------------------------------------

    def _keyboard(self, parts: ExitStack, output: Sink) -> Callable[[bytes], int]:
        """Prepare the terminal; returns what to do with the keys."""
        from .keys import EscapeKeys
        from .terminal import RawTerminal

        self._terminal = parts.enter_context(RawTerminal(_STDIN))
        if os.isatty(_STDOUT):
            self._screen = output
        else:
            self._screen = Sink(_STDIN, "the terminal", self._notice)
            parts.callback(self._screen.close)
        escape = EscapeKeys()

        def typed(keys: bytes) -> int:
            for one in escape.split(keys):
                if isinstance(one, str):
                    self._command(one)
                elif self._in_monitor and self._editor is not None:
                    self._editor.type(one)
                else:
                    # What it does not take is lost: keys are not left waiting, or else a guest
                    # that reads none would keep Ctrl-A X from being read.
                    self._console.offer(one)
            return len(keys)

        return typed

    def _command(self, command: str) -> None:
        from .keys import HELP, MONITOR, QUIT

        if command == QUIT:
            self._vm.request_stop("Ctrl-A X")
        elif command == MONITOR:
            self._toggle()
        else:
            self._notice(f"keys:\n{HELP}")

    def _toggle(self) -> None:
        """From the guest to the monitor, or back. The guest goes on talking either way."""
        self._in_monitor = not self._in_monitor
        self._show("\r\n")
        if not self._in_monitor:
            return
        if self._editor is None:
            from .line_editor import LineEditor
            from .monitor import PROMPT, Monitor

            monitor = Monitor(self._vm)

            def enter(line: str) -> None:
                self._show(monitor.execute(line).replace("\n", "\r\n"))

            self._editor = LineEditor(PROMPT, self._show, enter)
            self._show(_WELCOME)
        self._editor.begin()

    def _show(self, text: str) -> None:
        assert self._screen is not None
        self._screen.write(text.encode(errors="backslashreplace"))
