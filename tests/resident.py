# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How much of a guest's RAM is there: pages that nobody has touched take no memory."""

from __future__ import annotations

import ctypes
import mmap

from pyvmm.memory import GuestMemory

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def pages_there(memory: GuestMemory) -> int:
    """How many pages of RAM are there: see mincore(2)."""
    there = 0
    for region in memory.regions:
        pages = (ctypes.c_ubyte * (region.size // mmap.PAGESIZE))()
        assert _libc.mincore(region.host, region.size, pages) == 0
        there += sum(page & 1 for page in pages)
    return there
