# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DirtyPages: which pages of a region were written, as KVM's dirty log tells it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_SIZE = 4096


class DirtyPages:
    """The pages of one memory region that were written between two readings of its log.

    bitmap has a bit for each page, the lowest bit of the first byte for the page at gpa.
    Iterating gives the guest-physical addresses of the dirty pages, ascending; len() their count.
    """

    __slots__ = ("bitmap", "gpa")

    def __init__(self, gpa: int, bitmap: bytes) -> None:
        self.gpa = gpa
        self.bitmap = bitmap

    def __len__(self) -> int:
        return int.from_bytes(self.bitmap, "little").bit_count()

    def __iter__(self) -> Iterator[int]:
        for number, word in enumerate(memoryview(self.bitmap).cast("Q")):
            while word:
                lowest = word & -word
                yield self.gpa + (number * 64 + lowest.bit_length() - 1) * PAGE_SIZE
                word ^= lowest


def bitmap_size(pages: int) -> int:
    """Bytes that KVM writes for so many pages: whole 64-bit words."""
    return (pages + 63) // 64 * 8
