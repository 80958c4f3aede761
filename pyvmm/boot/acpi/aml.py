# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""AML as bytes: one function for each term our tables use.

Terms nest as ASL does, so that a table reads like its source.

Source: ACPI 6.5, section 20.2 (AML grammar).
"""

from __future__ import annotations

_ROOT = 0x5C
_MULTI_NAME = 0x2F
_DUAL_NAME = 0x2E

ARG0, ARG1, ARG2, ARG3 = b"\x68", b"\x69", b"\x6a", b"\x6b"
LOCAL0 = b"\x60"
_NOWHERE = b"\0"  # a target that takes no result

_SERIALIZED = 0x08

# -- objects ----------------------------------------------------------------------------------


def scope(path: str, *terms: bytes) -> bytes:
    return _package_with(b"\x10", name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return _package_with(b"\x5b\x82", name_string(path) + b"".join(terms))


def name(path: str, value: bytes) -> bytes:
    return b"\x08" + name_string(path) + value


def method(path: str, arguments: int, *terms: bytes) -> bytes:
    """A control method, for one thread at a time: those that name objects have to be."""
    flags = bytes((arguments | _SERIALIZED,))
    return _package_with(b"\x14", name_string(path) + flags + b"".join(terms))


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


def uuid(text: str) -> bytes:
    """A UUID as a buffer of 16 bytes, its first three fields little-endian (section 19.6.142)."""
    first, second, third, *rest = (bytes.fromhex(part) for part in text.split("-"))
    return buffer(first[::-1] + second[::-1] + third[::-1] + b"".join(rest))


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


# -- statements and expressions, in methods ---------------------------------------------------


def create_dword_field(source: bytes, offset: int, path: str) -> bytes:
    """Name the 32 bits at a byte offset of a buffer."""
    return b"\x8a" + source + integer(offset) + name_string(path)


def if_(condition: bytes, *terms: bytes) -> bytes:
    return _package_with(b"\xa0", condition + b"".join(terms))


def else_(*terms: bytes) -> bytes:
    """What follows an if_()."""
    return _package_with(b"\xa1", b"".join(terms))


def return_(value: bytes) -> bytes:
    return b"\xa4" + value


def store(value: bytes, target: bytes) -> bytes:
    return b"\x70" + value + target


def and_(left: bytes, right: bytes, target: bytes = _NOWHERE) -> bytes:
    """Bitwise, as or_() is."""
    return b"\x7b" + left + right + target


def or_(left: bytes, right: bytes, target: bytes = _NOWHERE) -> bytes:
    return b"\x7d" + left + right + target


def equal(left: bytes, right: bytes) -> bytes:
    return b"\x93" + left + right


def not_equal(left: bytes, right: bytes) -> bytes:
    return b"\x92" + equal(left, right)
