# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong with guest memory."""

from __future__ import annotations


class GuestMemoryError(Exception):
    """Base of the memory room's errors."""


class OutOfHostMemory(GuestMemoryError):
    """The host can't give the guest as much RAM, or of such a kind, as was asked."""


class BadGuestAddress(GuestMemoryError):
    """An accessor was given a range that is not (all) guest memory with a host buffer."""

    def __init__(self, gpa: int, size: int) -> None:
        super().__init__(f"guest-physical {gpa:#x}+{size:#x} is not guest memory")
        self.gpa = gpa
        self.size = size


class Overlap(GuestMemoryError):
    """Two things claim the same addresses."""
