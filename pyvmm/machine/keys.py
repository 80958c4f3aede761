# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The keys that a terminal keeps from the guest: Ctrl-A and the one after it."""

from __future__ import annotations

HELP = """\
Ctrl-A X       quit: stop the guest
Ctrl-A C       the monitor, and back to the guest
Ctrl-A H       this help
Ctrl-A Ctrl-A  send Ctrl-A to the guest"""

QUIT = "quit"
MONITOR = "monitor"
SHOW_HELP = "help"

_CTRL_A = 0x01
_COMMANDS = {"x": QUIT, "c": MONITOR, "h": SHOW_HELP}
_BY_KEY = {
    ord(key): command for letter, command in _COMMANDS.items() for key in (letter, letter.upper())
}


class EscapeKeys:
    """Tells what is typed for the guest (or the monitor) from what is typed for pyvmm."""

    def __init__(self) -> None:
        self._escaped = False

    def split(self, typed: bytes) -> list[bytes | str]:
        """What is typed: bytes as they are, and between them commands. None follow QUIT.

        A Ctrl-A at the end waits for the next call. One before any other key stays with that key.
        """
        found: list[bytes | str] = []
        plain = bytearray()
        for key in typed:
            if not self._escaped:
                if key == _CTRL_A:
                    self._escaped = True
                else:
                    plain.append(key)
                continue
            self._escaped = False
            command = _BY_KEY.get(key)
            if command is None:
                plain += bytes((_CTRL_A,) if key == _CTRL_A else (_CTRL_A, key))
                continue
            if plain:
                found.append(bytes(plain))
                plain.clear()
            found.append(command)
            if command == QUIT:
                return found
        if plain:
            found.append(bytes(plain))
        return found
