# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Window: registers at offsets, read and written by accesses of an exact width.

`window.u32[0x1c]` is one access of 4 bytes, and so is `window.u32[0x1c] = 1`. Nothing is split,
joined, cached or read before it is written: registers have side effects.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod

from ..device import Device
from ..errors import BadAccess


class Words:
    """All registers of one width in a window: `words[offset]`, with offsets in bytes."""

    __slots__ = ("_last", "_load", "_store", "_width", "_window")
    __iter__ = None  # reading them all has side effects that nobody wants

    def __init__(self, window: Window, width: int) -> None:
        """`width` is in bytes: 1, 2, 4 or 8."""
        self._window = window
        self._width = width
        self._last = window.size - width
        self._load = window.load
        self._store = window.store

    def __getitem__(self, offset: int) -> int:
        """Read one. Raises BadAccess for an offset that is not aligned or outside."""
        if type(offset) is not int:
            offset = operator.index(offset)
        if not 0 <= offset <= self._last or offset % self._width:
            raise self._bad(f"reading {self._width} bytes at {offset:#x}", offset)
        return self._load(offset, self._width)

    def __setitem__(self, offset: int, value: int) -> None:
        """Write one. Raises BadAccess as reading does, and for a value that doesn't fit."""
        if type(offset) is not int or type(value) is not int:
            offset, value = operator.index(offset), operator.index(value)
        if not 0 <= offset <= self._last or offset % self._width:
            raise self._bad(f"writing {self._width} bytes at {offset:#x}", offset)
        if not 0 <= value < 1 << 8 * self._width:
            doing = f"writing {value:#x} at {offset:#x}"
            raise BadAccess(f"{self._window.name}: {doing}: more than {self._width} bytes hold")
        self._store(offset, self._width, value)

    def _bad(self, doing: str, offset: int) -> BadAccess:
        inside = 0 <= offset <= self._last
        why = f"not a multiple of {self._width}" if inside else f"it has {self._window.size:#x}"
        return BadAccess(f"{self._window.name}: {doing}: {why}")


class Window(ABC):
    """`size` bytes of registers; `name` is for messages."""

    name: str
    size: int
    u8: Words
    u16: Words
    u32: Words
    u64: Words

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.u8 = Words(self, 1)
        self.u16 = Words(self, 2)
        self.u32 = Words(self, 4)
        self.u64 = Words(self, 8)

    def words(self, width: int) -> Words:
        """The registers of `width` bytes: u8, u16, u32 or u64."""
        return {1: self.u8, 2: self.u16, 4: self.u32, 8: self.u64}[width]

    @abstractmethod
    def load(self, offset: int, width: int) -> int:
        """Read width bytes, little-endian, in one access; the offset is aligned and inside."""

    @abstractmethod
    def store(self, offset: int, width: int, value: int) -> None:
        """Write width bytes, little-endian, in one access; the offset is aligned and inside."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.size:#x} bytes: {self.name}>"


class RegionWindow(Window):
    """A region of a device, accessed by calls: a system call, or a message to its server.

    The kernel's VFIO makes one access out of a call of 1, 2 or 4 bytes. Out of 8 it makes two of
    4 before Linux 6.10, and for I/O ports and configuration space always.
    """

    index: int

    def __init__(self, device: Device, index: int, name: str) -> None:
        """Look at the region with this VFIO_PCI_*_REGION_INDEX. Raises VfioError."""
        self._device = device
        self.index = index
        super().__init__(f"{device.name}: {name}", device.region_info(index).size)

    def load(self, offset: int, width: int) -> int:
        return int.from_bytes(self._device.region_read(self.index, offset, width), "little")

    def store(self, offset: int, width: int, value: int) -> None:
        self._device.region_write(self.index, offset, value.to_bytes(width, "little"))

    def read(self, offset: int, size: int) -> bytes:
        """Read any number of bytes, in accesses of whatever width. Raises BadAccess, VfioError."""
        self._check("reading", operator.index(offset), operator.index(size))
        return self._device.region_read(self.index, offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write any number of bytes, in accesses of whatever width. Raises as `read`."""
        self._check("writing", operator.index(offset), len(data))
        self._device.region_write(self.index, offset, data)

    def _check(self, doing: str, offset: int, size: int) -> None:
        if not (0 <= offset <= self.size and 0 < size <= self.size - offset):
            what = f"{doing} {size:#x} bytes at {offset:#x} of {self.size:#x}"
            raise BadAccess(f"{self.name}: {what}")
