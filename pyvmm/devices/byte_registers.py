# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ByteRegisters: what the devices with 8-bit registers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod


class ByteRegisters(ABC):
    """An I/O handler that splits wide accesses into bytes, lowest first.

    That is what the ISA bus does with an access that is wider than the device.
    """

    __slots__ = ()

    @abstractmethod
    def read_byte(self, offset: int) -> int:
        """Read the register at offset."""

    @abstractmethod
    def write_byte(self, offset: int, value: int) -> None:
        """Write a byte to the register at offset."""

    def read(self, offset: int, size: int) -> int:
        if size == 1:
            return self.read_byte(offset)
        value = 0
        for i in range(size):
            value |= self.read_byte(offset + i) << 8 * i
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        for i in range(size):
            self.write_byte(offset + i, value >> 8 * i & 0xFF)
