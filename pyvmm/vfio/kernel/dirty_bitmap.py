# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bitmaps of written pages, as the kernel fills them in: one bit a page, in 64-bit words."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from ..intervals import Interval, merge

Words = ctypes.Array[ctypes.c_uint64]


def bitmap_words(within: Interval, page_size: int) -> Words:
    """A clean bitmap for this range; the kernel only ever sets bits."""
    pages = -(-within.size // page_size)
    return (ctypes.c_uint64 * max(1, -(-pages // 64)))()


def dirty_ranges(words: Words, within: Interval, page_size: int) -> tuple[Interval, ...]:
    """The parts of the range whose bits are set; the first bit is its first page."""
    return merge(
        Interval(start, min(end, within.end)) for start, end in _runs(words, within, page_size)
    )


def _runs(words: Words, within: Interval, page_size: int) -> Iterator[tuple[int, int]]:
    for number, word in enumerate(words):
        at = within.start + number * 64 * page_size
        # Most words are all clean or all dirty, and the others have few runs.
        while word:
            clean = (word & -word).bit_length() - 1
            word >>= clean
            dirty = (~word & (word + 1)).bit_length() - 1
            word >>= dirty
            at += clean * page_size
            yield at, at + dirty * page_size
            at += dirty * page_size
