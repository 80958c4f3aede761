# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""LineEditor: lines typed on a raw terminal, which echoes nothing and edits nothing by itself."""

from __future__ import annotations

import codecs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINE = 1000
"""Characters; what is typed beyond is not taken."""

_HISTORY = 100

_CTRL_C, _CTRL_U, _ESCAPE = "\x03", "\x15", "\x1b"
_ENTER = "\r\n"
_BACKSPACE = "\x08\x7f"
_UP, _DOWN = "A", "B"  # the last character of an arrow key's sequence
_ERASE_LINE = "\r\x1b[K"


class LineEditor:
    """Takes keys, shows what they make of the line by show(text), and gives lines.

    Backspace, Ctrl-U (empty the line), Ctrl-C (leave it, and begin another), up and down for what
    was typed before.
    """

    def __init__(
        self, prompt: str, show: Callable[[str], None], enter: Callable[[str], None]
    ) -> None:
        """enter(line) is called with each line. Text for show has no line ends but "\\r\\n"."""
        self._prompt = prompt
        self._show = show
        self._enter = enter
        self._line = ""
        self._history: list[str] = []
        self._at = 0  # in the history; its length: a new line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sequence = ""  # of an escape sequence, what has come

    def begin(self) -> None:
        """Show the prompt, and what has been typed."""
        self._show(self._prompt + self._line)

    def type(self, keys: bytes) -> None:
        """Take what was typed: UTF-8, of which a character may come in pieces."""
        for character in self._decoder.decode(keys):
            if self._sequence or character == _ESCAPE:
                self._escape(character)
            else:
                self._key(character)

    def _escape(self, character: str) -> None:
        """ESC, an optional [ or O, parameters, and a letter or the like: an arrow, or nothing."""
        self._sequence += character
        if len(self._sequence) == 1 or (len(self._sequence) == 2 and character in "[O"):
            return
        if character.isdigit() or character == ";":
            return
        self._sequence = ""
        if character == _UP and self._at > 0:
            self._recall(self._at - 1)
        elif character == _DOWN and self._at < len(self._history):
            self._recall(self._at + 1)

    def _recall(self, at: int) -> None:
        self._at = at
        self._replace(self._history[at] if at < len(self._history) else "")

    def _key(self, key: str) -> None:
        if key in _ENTER:
            self._end_line()
        elif key in _BACKSPACE:
            if self._line:
                self._replace(self._line[:-1])
        elif key == _CTRL_U:
            self._replace("")
        elif key == _CTRL_C:
            self._line = ""
            self._at = len(self._history)
            self._show("^C\r\n")
            self.begin()
        elif key.isprintable() and len(self._line) < MAX_LINE:
            self._line += key
            self._show(key)

    def _replace(self, line: str) -> None:
        self._line = line
        self._show(f"{_ERASE_LINE}{self._prompt}{line}")

    def _end_line(self) -> None:
        line, self._line = self._line, ""
        if line.strip() and line not in self._history[-1:]:
            self._history = [*self._history, line][-_HISTORY:]
        self._at = len(self._history)
        self._show("\r\n")
        self._enter(line)
        self.begin()
