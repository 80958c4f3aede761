# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""AML as bytes: one function for each term and resource descriptor our tables use.

Terms nest as ASL does, so that a table reads like its source. Sources: ACPI 6.5, section 20.2
(AML grammar) and section 6.4 (resource data types).
"""

from __future__ import annotations

import struct

_ROOT = 0x5C
_MULTI_NAME = 0x2F
_DUAL_NAME = 0x2E

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


# -- terms ------------------------------------------------------------------------------------


def scope(path: str, *terms: bytes) -> bytes:
    return _package_with(b"\x10", name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return _package_with(b"\x5b\x82", name_string(path) + b"".join(terms))


def name(path: str, value: bytes) -> bytes:
    return b"\x08" + name_string(path) + value


def package(*elements: bytes) -> bytes:
    """At most 255 elements."""
    return _package_with(b"\x12", bytes((len(elements),)) + b"".join(elements))


def buffer(data: bytes) -> bytes:
    return _package_with(b"\x11", integer(len(data)) + data)


def integer(value: int) -> bytes:
    """The shortest encoding of an unsigned number of up to 64 bits."""
    if value < 2:
        return b"\x01" if value else b"\x00"
    if value < 1 << 8:
        return b"\x0a" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"\x0b" + value.to_bytes(2, "little")
    if value < 1 << 32:
        return b"\x0c" + value.to_bytes(4, "little")
    return b"\x0e" + value.to_bytes(8, "little")


def string(text: str) -> bytes:
    """ASCII text."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def eisa_id(text: str) -> bytes:
    """A Plug and Play id such as PNP0A08, compressed to a 32-bit number (section 19.6.36)."""
    letters = 0
    for letter in text[:3]:
        letters = letters << 5 | ord(letter) - ord("@")
    return b"\x0c" + letters.to_bytes(2, "big") + bytes.fromhex(text[3:])


def name_string(path: str) -> bytes:
    r"""A path such as \_SB_.PCI0; short segments are filled up with underscores."""
    root = path.startswith("\\")
    segments = [segment.ljust(4, "_").encode() for segment in path.lstrip("\\").split(".")]
    prefix = bytes((_ROOT,)) if root else b""
    if len(segments) == 2:
        prefix += bytes((_DUAL_NAME,))
    elif len(segments) > 2:
        prefix += bytes((_MULTI_NAME, len(segments)))
    return prefix + b"".join(segments)


def _package_with(opcode: bytes, body: bytes) -> bytes:
    """A term of explicit length: the length counts its own bytes, but not the opcode."""
    size = len(body)
    if size + 1 < 1 << 6:
        return opcode + bytes((size + 1,)) + body
    for extra in (1, 2, 3):
        total = size + 1 + extra
        if total < 1 << 4 + 8 * extra:
            break
    length = bytes((extra << 6 | total & 0x0F,)) + (total >> 4).to_bytes(extra, "little")
    return opcode + length + body


# -- resource descriptors ---------------------------------------------------------------------


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
