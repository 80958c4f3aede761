# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Ports through which a guest talks to whoever tests it: debug exit and POST codes."""

from __future__ import annotations

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEBUG_EXIT_PORTS = 4

POST_CODE_PORT = 0x80


class DebugExit:
    """A write of any size ends the run: exit_guest is called with the value written."""

    __slots__ = ("_exit_guest",)

    def __init__(self, exit_guest: Callable[[int], None]) -> None:
        self._exit_guest = exit_guest

    def read(self, _offset: int, size: int) -> int:
        return (1 << 8 * size) - 1

    def write(self, _offset: int, _size: int, value: int) -> None:
        self._exit_guest(value)


class PostCode(ByteRegisters):
    """Keeps the last progress code in last; it can be read back, as on a PC.

    Guests also write there to pass a microsecond.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def read_byte(self, offset: int) -> int:
        return self.last

    def write_byte(self, offset: int, value: int) -> None:
        self.last = value
