# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The keys that a terminal keeps from the guest: Ctrl-A and the one after it."""

from __future__ import annotations

HELP = """\
Ctrl-A X       quit: stop the guest
Ctrl-A H       this help
Ctrl-A Ctrl-A  send Ctrl-A to the guest"""

QUIT = "quit"
SHOW_HELP = "help"

_CTRL_A = 0x01
_COMMANDS = {ord("x"): QUIT, ord("X"): QUIT, ord("h"): SHOW_HELP, ord("H"): SHOW_HELP}


class EscapeKeys:
    """Tells what is typed for the guest from what is typed for pyvmm."""

    def __init__(self) -> None:
        self._escaped = False

    def split(self, typed: bytes) -> tuple[bytes, list[str]]:
        """What of typed is the guest's, and the commands among it. What follows QUIT is dropped.

        A Ctrl-A at the end waits for the next call. One before any other key goes to the guest
        with that key.
        """
        for_guest = bytearray()
        commands = []
        for key in typed:
            if not self._escaped:
                if key == _CTRL_A:
                    self._escaped = True
                else:
                    for_guest.append(key)
                continue
            self._escaped = False
            command = _COMMANDS.get(key)
            if command is not None:
                commands.append(command)
                if command == QUIT:
                    break
            elif key == _CTRL_A:
                for_guest.append(_CTRL_A)
            else:
                for_guest += bytes((_CTRL_A, key))
        return bytes(for_guest), commands
