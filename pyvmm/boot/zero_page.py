# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The zero page (struct boot_params): what Linux is told by its own boot protocol.

Sources: the kernel's Documentation/arch/x86/zero-page.rst and boot.rst, and
arch/x86/include/uapi/asm/bootparam.h and setup_data.h.
"""

from __future__ import annotations

import os
import struct

from pyvmm.memory import layout

from .placement import BOOT_INFO, COMMAND_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.memory import GuestMemory

    from .memory_map import MapEntry

HEADER_START = 0x1F1
"""Where the setup header begins, in the zero page as in the image."""

HEADER_LIMIT = 0x290
"""It ends here at the latest; what follows is others'."""

# Offsets of fields in the zero page; those of the setup header are the image's own.
_ACPI_RSDP = 0x070
_EXT_INITRD_ADDRESS = 0x0C0
_EXT_INITRD_SIZE = 0x0C4
_MEMORY_MAP_COUNT = 0x1E8
_VIDEO_MODE = 0x1FA
_LOADER = 0x210
_CODE_START = 0x214
_INITRD_ADDRESS = 0x218
_INITRD_SIZE = 0x21C
_COMMAND_LINE = 0x228
_SETUP_DATA = 0x250
_MEMORY_MAP = 0x2D0

_MEMORY_MAP_LIMIT = 128
_MEMORY_MAP_ENTRY = struct.Struct("<QQI")

_NORMAL_VIDEO_MODE = 0xFFFF
_UNKNOWN_LOADER = 0xFF  # for those without an assigned number

_SETUP_DATA_HEADER = struct.Struct("<QII")
_SETUP_RNG_SEED = 9
_SEED_SIZE = 32


def write(
    memory: GuestMemory,
    header: bytes,
    *,
    load_address: int,
    seed_address: int,
    command_line: bytes,
    memory_map: Sequence[MapEntry],
    rsdp: int,
    initrd: tuple[int, int] | None,
) -> int:
    """Write the zero page and what it points at; returns its guest-physical address.

    header is the image's setup header. The other parts are as for PvhKernel.hand_over();
    seed_address is where there is room for a seed of random numbers (48 bytes).
    """
    assert len(memory_map) <= _MEMORY_MAP_LIMIT
    page = bytearray(layout.PAGE_SIZE)
    page[HEADER_START : HEADER_START + len(header)] = header
    address, size = initrd or (0, 0)
    low, high = 0xFFFF_FFFF, 32
    for offset, kind, value in (
        (_ACPI_RSDP, "<Q", rsdp),
        (_EXT_INITRD_ADDRESS, "<I", address >> high),
        (_EXT_INITRD_SIZE, "<I", size >> high),
        (_MEMORY_MAP_COUNT, "<B", len(memory_map)),
        (_VIDEO_MODE, "<H", _NORMAL_VIDEO_MODE),
        (_LOADER, "<B", _UNKNOWN_LOADER),
        (_CODE_START, "<I", load_address),
        (_INITRD_ADDRESS, "<I", address & low),
        (_INITRD_SIZE, "<I", size & low),
        (_COMMAND_LINE, "<I", COMMAND_LINE),
        (_SETUP_DATA, "<Q", seed_address),
    ):
        struct.pack_into(kind, page, offset, value)
    for index, entry in enumerate(memory_map):
        _MEMORY_MAP_ENTRY.pack_into(page, _MEMORY_MAP + index * _MEMORY_MAP_ENTRY.size, *entry)
    memory.write(BOOT_INFO, page)
    memory.write(COMMAND_LINE, command_line)
    # A guest has few sources of randomness while it starts, and Linux waits for it to be enough.
    # It takes this one since 6.0; kernels before step over it.
    seed = _SETUP_DATA_HEADER.pack(0, _SETUP_RNG_SEED, _SEED_SIZE) + os.urandom(_SEED_SIZE)
    memory.write(seed_address, seed)
    return BOOT_INFO
