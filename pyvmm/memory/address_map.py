# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""AddressMap: who answers a trapped access, in one dictionary look-up.

One map for ports and one for MMIO. An area of addresses has a handler; the run loop looks up
``cache[address << 4 | size]`` and calls what it finds. The cache is filled on the first access
to an address and emptied whenever the map changes, so that nothing but that one look-up stands
between an exit and its handler.
"""

from __future__ import annotations

import threading
from bisect import bisect_right

from .errors import Overlap
from .layout import PAGE_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class IoHandler(Protocol):
        """What answers accesses to an area.

        offset is in bytes from the area's start, size is 1, 2, 4 or 8 bytes and value is
        unsigned and fits in size. The access lies wholly inside the area. Nothing a guest can
        do may make these raise.
        """

        def read(self, offset: int, size: int, /) -> int: ...

        def write(self, offset: int, size: int, value: int, /) -> None: ...

    Access = tuple[Callable[[int, int], int], Callable[[int, int, int], None], int]

# A guest that walks all addresses must not make the VMM grow.
_CACHE_LIMIT = 4096


class AddressMap:
    """Areas of one address space (ports or MMIO) and their handlers. Safe from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cache: dict[int, Access] = {}
        self.unclaimed = Unclaimed()
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._areas: list[tuple[int, int, IoHandler]] = []
        self._crowded: dict[int, Callable[[], None]] = {}  # by start

    def add(
        self,
        start: int,
        size: int,
        handler: IoHandler,
        crowded: Callable[[], None] | None = None,
    ) -> bool:
        """Have handler answer [start, start + size). Raises Overlap.

        Returns whether it has its pages for itself. Once others come there, crowded() is called,
        on any thread and before they can be reached; it must not use this map.
        """
        with self._lock:
            at = bisect_right(self._starts, start)
            for neighbour in self._areas[max(0, at - 1) : at + 1]:
                if start < neighbour[1] and neighbour[0] < start + size:
                    raise Overlap(
                        f"{self.name} {start:#x}-{start + size - 1:#x} overlaps "
                        f"{neighbour[0]:#x}-{neighbour[1] - 1:#x}"
                    )
            others = self._in_pages_of(start, size, at)
            for other in others:
                if other in self._crowded:
                    self._crowded[other]()
            self._starts.insert(at, start)
            self._areas.insert(at, (start, start + size, handler))
            if crowded is not None:
                self._crowded[start] = crowded
            self.cache.clear()
            return not others

    def _in_pages_of(self, start: int, size: int, at: int) -> list[int]:
        """The starts of the areas that share a page with one that would be inserted at an index."""
        first = start & -PAGE_SIZE
        last = (start + size - 1) | (PAGE_SIZE - 1)
        low, high = at, at
        while low and self._areas[low - 1][1] > first:
            low -= 1
        while high < len(self._starts) and self._starts[high] <= last:
            high += 1
        return self._starts[low:high]

    def remove(self, start: int) -> None:
        """Remove the area that starts at start. Raises KeyError if there is none.

        A vCPU that is in the handler at this moment finishes its access.
        """
        with self._lock:
            at = bisect_right(self._starts, start) - 1
            if at < 0 or self._starts[at] != start:
                raise KeyError(start)
            del self._starts[at], self._areas[at]
            self._crowded.pop(start, None)
            self.cache.clear()

    def lookup(self, address: int, size: int) -> Access:
        """(read, write, offset) for an access of size bytes at address; never fails."""
        with self._lock:
            access = self._find(address, size)
            if len(self.cache) >= _CACHE_LIMIT:
                self.cache.clear()
            self.cache[address << 4 | size] = access
            return access

    def _find(self, address: int, size: int) -> Access:
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            start, end, handler = self._areas[at]
            if address + size <= end:
                return handler.read, handler.write, address - start
            if address < end:
                return self._straddling(address)
        if at + 1 < len(self._starts) and self._starts[at + 1] < address + size:
            return self._straddling(address)
        return self.unclaimed.read, self.unclaimed.write, 0

    def _straddling(self, address: int) -> Access:
        """An access over an area's edge goes byte by byte, each to whom it belongs."""

        def read(_: int, size: int) -> int:
            value = 0
            for i in range(size):
                read_byte, _write, offset = self.lookup(address + i, 1)
                value |= read_byte(offset, 1) << 8 * i
            return value

        def write(_: int, size: int, value: int) -> None:
            for i in range(size):
                _read, write_byte, offset = self.lookup(address + i, 1)
                write_byte(offset, 1, value >> 8 * i & 0xFF)

        return read, write, 0


class Unclaimed:
    """Answers where nobody else does: reads give all-ones, writes are dropped, both counted."""

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0

    def read(self, _offset: int, size: int) -> int:
        self.reads += 1
        return (1 << 8 * size) - 1

    def write(self, _offset: int, _size: int, _value: int) -> None:
        self.writes += 1
