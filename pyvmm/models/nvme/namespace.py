# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Namespace: blocks of a backing file, with what Identify says of them (section 5.15.2.1)."""

from __future__ import annotations

import struct

from pyvmm.models.backing import Backing
from pyvmm.models.errors import ModelError

from .spec import Rejected, Status

IDENTIFY_SIZE = 4096

_UUID = bytes((3, 16, 0, 0))  # a descriptor's NIDT and NIDL


class Namespace:
    """One namespace; `id` counts from 1, sizes are in blocks of `block_size` bytes."""

    def __init__(self, id: int, backing: Backing, block_size: int) -> None:
        """Raises ModelError if there is not even one block."""
        self.id = id
        self.backing = backing
        self.block_size = block_size
        self.shift = block_size.bit_length() - 1
        self.blocks = backing.size >> self.shift
        if not self.blocks:
            raise ModelError(
                f"namespace {id}: the {backing.size} bytes of {backing.name} are less than a block "
                f"of {block_size}; make it larger, as with `truncate -s 1G`"
            )

    def check(self, block: int, count: int) -> None:
        """Make sure that there are such blocks. Raises Rejected."""
        if block + count > self.blocks:
            raise Rejected(Status.LBA_OUT_OF_RANGE, 40)

    def check_writable(self) -> None:
        if self.backing.read_only:
            raise Rejected(Status.NAMESPACE_WRITE_PROTECTED)

    def identify(self) -> bytes:
        data = bytearray(IDENTIFY_SIZE)
        # NSZE, NCAP, NUSE; NSFEAT: deallocation; one LBA format, the first
        struct.pack_into("<QQQBBB", data, 0, self.blocks, self.blocks, self.blocks, 0x01, 0, 0)
        data[33] = 0x09  # DLFEAT: deallocated blocks read as zeros, also by Write Zeroes
        struct.pack_into("<Q", data, 48, self.backing.size & 0xFFFFFFFF_FFFFFFFF)  # NVMCAP
        data[99] = int(self.backing.read_only)  # NSATTR: write protected
        struct.pack_into("<HBB", data, 128, 0, self.shift, 0)  # LBAF0
        return bytes(data)

    def descriptors(self) -> bytes:
        """The Namespace Identification Descriptor list (section 5.15.2.3): a UUID."""
        return (_UUID + self.backing.identity.bytes).ljust(IDENTIFY_SIZE, b"\0")
