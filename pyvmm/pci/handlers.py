# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The handlers of a BAR's trapped accesses: the device's own, and layers on top of it.

A layer is a handler around a handler: it answers in one interval of a region, and may ask what is
below it. The MSI-X table and the PBA are layers, and so is a tap. Offsets are the region's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from pyvmm.vfio import Interval, RegionInfo

from .guard import Guard

if TYPE_CHECKING:
    from pyvmm.memory import IoHandler


class Layer(NamedTuple):
    """A handler for an interval of a region; wrap() is given the handler below it."""

    region: int
    interval: Interval
    wrap: Callable[[IoHandler], IoHandler]


class RegionHandler:
    """Every access is one of the device's region; behind its end there is nothing."""

    def __init__(self, guard: Guard, info: RegionInfo) -> None:
        self._guard = guard
        self._region = info.index
        self._size = info.size
        self._writable = info.writable

    def read(self, offset: int, size: int) -> int:
        if offset + size > self._size:
            return (1 << 8 * size) - 1
        return self._guard.read(self._region, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset + size <= self._size and self._writable:
            self._guard.write(self._region, offset, size, value)


class Overlay:
    """`above` answers accesses within the interval, `below` those outside.

    One that lies across an edge is cut in halves.
    """

    def __init__(self, interval: Interval, above: IoHandler, below: IoHandler) -> None:
        self._start, self._end = interval
        self._above = above
        self._below = below

    def read(self, offset: int, size: int) -> int:
        end = offset + size
        if end <= self._start or offset >= self._end:
            return self._below.read(offset, size)
        if self._start <= offset and end <= self._end:
            return self._above.read(offset, size)
        half = size // 2
        return self.read(offset, half) | self.read(offset + half, half) << 8 * half

    def write(self, offset: int, size: int, value: int) -> None:
        end = offset + size
        if end <= self._start or offset >= self._end:
            self._below.write(offset, size, value)
        elif self._start <= offset and end <= self._end:
            self._above.write(offset, size, value)
        else:
            half = size // 2
            self.write(offset, half, value & (1 << 8 * half) - 1)
            self.write(offset + half, half, value >> 8 * half)


def stack(handler: IoHandler, layers: Iterable[Layer]) -> IoHandler:
    """Put layers on a handler, the last one on top."""
    for layer in layers:
        handler = Overlay(layer.interval, layer.wrap(handler), handler)
    return handler
