# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Pvpanic: a port by which a guest's kernel tells that it has panicked.

Without it a panic is text on the console, and then silence or a reset. Source: QEMU's
docs/specs/pvpanic.rst, whose ISA device this is.
"""

from __future__ import annotations

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PVPANIC_PORTS = 1

_PANICKED = 1
_CRASH_LOADED = 2


class Pvpanic(ByteRegisters):
    """Reading tells which events it knows, writing that one has come.

    panicked(False) is called when the guest has panicked, panicked(True) when it goes on with a
    crash kernel after that; perhaps more than once.
    """

    __slots__ = ("_panicked",)

    def __init__(self, panicked: Callable[[bool], None]) -> None:
        self._panicked = panicked

    def read_byte(self, offset: int) -> int:
        return _PANICKED | _CRASH_LOADED

    def write_byte(self, offset: int, value: int) -> None:
        if value & _PANICKED:
            self._panicked(False)
        elif value & _CRASH_LOADED:
            self._panicked(True)
