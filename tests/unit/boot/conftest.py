# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Images made by hand, and guest RAM to load them into."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.memory import GuestMemory

MIB = 1 << 20

Segments = list[tuple[int, bytes, int]]
MakeElf = Callable[..., bytes]


@pytest.fixture(scope="session")
def make_elf() -> MakeElf:
    """make_elf(segments, ...) is an ELF file with PT_LOAD segments of (address, contents, size)."""
    return _elf


@pytest.fixture(scope="session")
def make_note() -> Callable[..., bytes]:
    """make_note(value, name, kind, pad) is one ELF note."""
    return _note


def _note(value: bytes, name: bytes = b"Xen\0", kind: int = 18, pad: int = 3) -> bytes:
    """One note, padded."""
    entry = struct.pack("<III", len(name), len(value), kind) + name
    entry = entry.ljust(len(entry) + pad & ~pad, b"\0") + value
    return entry.ljust(len(entry) + pad & ~pad, b"\0")


def _elf(
    segments: Segments,
    *,
    entry: int = 0x10_0000,
    notes: bytes | None = None,
    bits: int = 64,
    machine: int = 62,
    note_alignment: int = 4,
) -> bytes:
    if notes is None:
        notes = _note(struct.pack("<I", entry))
    count = len(segments) + 1
    header_size, entry_size = (64, 56) if bits == 64 else (52, 32)
    at = header_size + count * entry_size
    parts = [(4, at, 0, notes, len(notes), note_alignment)]
    at += len(notes)
    for address, contents, memory_size in segments:
        parts.append((1, at, address, contents, memory_size, 4096))
        at += len(contents)
    ident = b"\x7fELF" + bytes((bits // 32, 1, 1)) + bytes(9)
    kind = "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH"
    file = ident + struct.pack(
        kind, 2, machine, 1, 0, header_size, 0, 0, header_size, entry_size, count, 0, 0, 0
    )
    for kind_of_segment, offset, address, contents, memory_size, alignment in parts:
        size = len(contents)
        if bits == 64:
            fields = (kind_of_segment, 7, offset, 0, address, size, memory_size, alignment)
            file += struct.pack("<IIQQQQQQ", *fields)
        else:
            fields = (kind_of_segment, offset, 0, address, size, memory_size, 7, alignment)
            file += struct.pack("<IIIIIIII", *fields)
    return file + b"".join(contents for _, _, _, contents, _, _ in parts)


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(16 * MIB) as memory:
        yield memory


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], str]:
    """Writes a file; returns its path."""

    def write(name: str, contents: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(contents)
        return str(path)

    return write
