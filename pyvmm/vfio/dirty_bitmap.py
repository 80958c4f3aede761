# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bitmaps of written pages: one bit a page, in 64-bit words, the first page's the lowest.

So the kernel fills them in, and so vfio-user carries them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from .intervals import Interval, Intervals, merge

Words = ctypes.Array[ctypes.c_uint64]


def bitmap_words(within: Interval, page_size: int) -> Words:
    """A clean bitmap for this range; the kernel only ever sets bits."""
    pages = -(-within.size // page_size)
    return (ctypes.c_uint64 * max(1, -(-pages // 64)))()


def dirty_ranges(words: Words, within: Interval, page_size: int) -> Intervals:
    """The parts of the range whose bits are set; the first bit is its first page."""
    return merge(
        Interval(start, min(end, within.end)) for start, end in _runs(words, within, page_size)
    )


def _runs(words: Words, within: Interval, page_size: int) -> Iterator[tuple[int, int]]:
    for number, word in enumerate(words):
        at = within.start + number * 64 * page_size
        for first, behind in runs(word):
            yield at + first * page_size, at + behind * page_size


def runs(word: int) -> Iterator[tuple[int, int]]:
    """Where bits are set in a number of any length: from the first to the one behind the last.

    Most words are all clean or all dirty, and the others have few runs.
    """
    at = 0
    while word:
        clean = (word & -word).bit_length() - 1
        word >>= clean
        dirty = (~word & (word + 1)).bit_length() - 1
        word >>= dirty
        at += clean
        yield at, at + dirty
        at += dirty


def bitmap_bytes(within: Interval, page_size: int) -> int:
    """How many bytes the bitmap for a range has."""
    pages = -(-within.size // page_size)
    return -(-pages // 64) * 8


def pack_dirty(dirty: Intervals, within: Interval, page_size: int) -> bytes:
    """The bitmap with the bits of these parts of the range set: what dirty_ranges() reads."""
    bitmap = bytearray(bitmap_bytes(within, page_size))
    for start, end in dirty:
        first = (max(start, within.start) - within.start) // page_size
        behind = -(-(min(end, within.end) - within.start) // page_size)
        if first < behind:
            _set(bitmap, first, behind)
    return bytes(bitmap)


def _set(bitmap: bytearray, start: int, end: int) -> None:
    """Set the bits from start up to, but not including, end."""
    first, last = start >> 3, end >> 3
    if first == last:
        bitmap[first] |= (1 << (end & 7)) - (1 << (start & 7))
        return
    bitmap[first] |= 0xFF << (start & 7) & 0xFF
    bitmap[first + 1 : last] = b"\xff" * (last - first - 1)
    if end & 7:
        bitmap[last] |= (1 << (end & 7)) - 1
