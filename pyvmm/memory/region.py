# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""One range of guest-physical addresses with host memory behind it."""

from __future__ import annotations

RAM = "ram"
ROM = "rom"
DEVICE = "device"


class MemoryRegion:
    """A range of the guest-physical map that the guest reaches without an exit.

    gpa and size are bytes, page-aligned. host is the address of the mapping in this process,
    which only those who hand it to the kernel (memslots, IOVA mappings) have a use for; fd and
    offset name the same memory for other processes, fd being -1 where there is none. kind is
    RAM, ROM (the guest's writes exit) or DEVICE (a mapped BAR: no RAM, and not for DMA). pages,
    if given, is held for as long as the region is in use: what keeps the mapping there.
    """

    __slots__ = ("buffer", "fd", "gpa", "host", "kind", "name", "offset", "pages", "size")

    def __init__(
        self,
        gpa: int,
        size: int,
        *,
        host: int,
        kind: str,
        name: str,
        fd: int = -1,
        offset: int = 0,
        buffer: memoryview | None = None,
        pages: memoryview | None = None,
    ) -> None:
        self.gpa = gpa
        self.size = size
        self.host = host
        self.kind = kind
        self.name = name
        self.fd = fd
        self.offset = offset
        self.buffer = buffer
        self.pages = pages

    @property
    def end(self) -> int:
        """The first guest-physical address behind the region."""
        return self.gpa + self.size

    @property
    def readonly(self) -> bool:
        return self.kind == ROM

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.gpa:#x}-{self.end - 1:#x}>"
