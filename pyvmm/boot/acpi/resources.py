# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resource descriptors, of which a device's _CRS is a list: ports, memory, interrupts, windows.

A window is what a bridge passes on to what is behind it; all else a device itself uses.

Source: ACPI 6.5, section 6.4 (resource data types).
"""

from __future__ import annotations

import struct

from .aml import buffer

# General flags of an address space descriptor: both ends fixed, decoded positively.
_FIXED_RANGE = 0x0C
_MEMORY, _IO, _BUS_NUMBER = 0, 1, 2
_READ_WRITE = 0x01
_ENTIRE_RANGE = 0x03

_WORD_ADDRESS = struct.Struct("<BHBBBHHHHH")
_DWORD_ADDRESS = struct.Struct("<BHBBBIIIII")
_QWORD_ADDRESS = struct.Struct("<BHBBBQQQQQ")
_IO_PORT = struct.Struct("<BBHHBB")
_FIXED_MEMORY = struct.Struct("<BHBII")


def resources(*descriptors: bytes) -> bytes:
    """A buffer of resource descriptors, for _CRS; its end tag has no checksum."""
    return buffer(b"".join(descriptors) + b"\x79\x00")


def bus_numbers(first: int, last: int) -> bytes:
    return _WORD_ADDRESS.pack(
        0x88, 13, _BUS_NUMBER, _FIXED_RANGE, 0, 0, first, last, 0, last - first + 1
    )


def io_window(start: int, end: int) -> bytes:
    """Ports [start, end) that a bridge passes on."""
    return _WORD_ADDRESS.pack(
        0x88, 13, _IO, _FIXED_RANGE, _ENTIRE_RANGE, 0, start, end - 1, 0, end - start
    )


def memory_window32(start: int, end: int) -> bytes:
    """Addresses [start, end) below 4 GiB that a bridge passes on."""
    return _DWORD_ADDRESS.pack(
        0x87, 23, _MEMORY, _FIXED_RANGE, _READ_WRITE, 0, start, end - 1, 0, end - start
    )


def memory_window64(start: int, end: int) -> bytes:
    """Addresses [start, end) that a bridge passes on."""
    return _QWORD_ADDRESS.pack(
        0x8A, 43, _MEMORY, _FIXED_RANGE, _READ_WRITE, 0, start, end - 1, 0, end - start
    )


def io_ports(start: int, count: int) -> bytes:
    """Ports a device itself decodes, all 16 address bits of them."""
    return _IO_PORT.pack(0x47, 1, start, start, 1, count)


def fixed_memory32(start: int, size: int) -> bytes:
    """Writable memory at a fixed place below 4 GiB."""
    return _FIXED_MEMORY.pack(0x86, 9, 1, start, size)


def irq(number: int) -> bytes:
    """An ISA interrupt: edge-triggered, active high, not shared."""
    return b"\x22" + (1 << number).to_bytes(2, "little")
