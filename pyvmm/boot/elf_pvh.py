# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ELF images with a PVH entry: parsing, and loading into guest RAM.

Sources: the System V ABI's ELF chapters, and Xen's docs/misc/pvh.pandoc with
public/elfnote.h: a note of name "Xen" and type XEN_ELFNOTE_PHYS32_ENTRY holds the physical
address at which the image wants to be entered in 32-bit mode. A Linux kernel has notes of the
name "Linux" besides (include/linux/elfnote.h and init/version.c there). The file is not trusted:
each offset and size in it is checked before use.
"""

from __future__ import annotations

import struct

from .detect import ACCEPTED
from .errors import MalformedImage, NotAGuestImage
from .pvh import PvhKernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .image import ImageFile
    from .placement import Placement

_NO_NOTE = (
    "if it is a Linux kernel, boot the bzImage made with it, or build it with CONFIG_PVH=y; "
    "if not, it needs such a note"
)

_IDENT_SIZE = 16
_CLASS_32, _CLASS_64 = 1, 2
_LITTLE_ENDIAN = 1
_MACHINES = {3: "i386", 40: "ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}
_X86 = (3, 62)

# From e_type to e_phnum, and a program header, by class.
_HEADER = {_CLASS_32: struct.Struct("<HHIIIIIHHH"), _CLASS_64: struct.Struct("<HHIQQQIHHH")}
_SEGMENT = {_CLASS_32: struct.Struct("<IIIIIIII"), _CLASS_64: struct.Struct("<IIQQQQQQ")}
_NOTE = struct.Struct("<III")

_PT_LOAD, _PT_NOTE = 1, 4
_XEN = b"Xen\0"
_XEN_ELFNOTE_PHYS32_ENTRY = 18
_LINUX = b"Linux\0"

# What no honest image comes near.
_SEGMENTS_LIMIT = 256
_NOTES_LIMIT = 64 << 10

_ZEROES = bytes(64 << 10)


class Segment:
    """A PT_LOAD segment: file_size bytes at offset in the file go to address, zeroes follow."""

    __slots__ = ("address", "file_size", "memory_size", "name", "offset")

    def __init__(
        self, name: str, offset: int, address: int, file_size: int, memory_size: int
    ) -> None:
        self.name = name
        self.offset = offset
        self.address = address
        self.file_size = file_size
        self.memory_size = memory_size


def load(image: ImageFile, placement: Placement) -> PvhKernel:
    """Load an ELF image into guest RAM.

    Raises NotAGuestImage, MalformedImage, DoesNotFit, AddressTaken, UnreadableImage.
    """
    segments, kernel = parse(image)
    end = max(segment.address + segment.memory_size for segment in segments)
    # All are placed before the first is written.
    buffers = [
        placement.claim(each.address, each.memory_size, f"{image.path}: {each.name}", needed=end)
        for each in segments
    ]
    for segment, buffer in zip(segments, buffers, strict=True):
        image.read_into(buffer[: segment.file_size], segment.offset)
        _clear(buffer[segment.file_size :])
    return kernel


def parse(image: ImageFile) -> tuple[list[Segment], PvhKernel]:
    """The segments to load, and the kernel, whose entry lies in one of them.

    Raises NotAGuestImage, MalformedImage, UnreadableImage.
    """
    segments: list[Segment] = []
    entry: int | None = None
    is_linux = False
    for index, header in enumerate(_program_headers(image)):
        kind, offset, address, file_size, memory_size, alignment = header
        if kind not in (_PT_LOAD, _PT_NOTE):
            continue
        name = f"program header {index}"
        if offset + file_size > image.size:
            raise MalformedImage(
                image.path,
                f"{name} has {file_size:#x} bytes at {offset:#x}, the file {image.size:#x} in all",
            )
        if kind == _PT_NOTE:
            for owner, note, value in _notes(image, name, offset, file_size, alignment):
                if owner == _LINUX:
                    is_linux = True
                elif (owner, note) == (_XEN, _XEN_ELFNOTE_PHYS32_ENTRY) and entry is None:
                    entry = _pvh_entry(image, value)
        elif file_size > memory_size:
            raise MalformedImage(image.path, f"{name} is larger in the file than in memory")
        elif memory_size:
            segments.append(Segment(name, offset, address, file_size, memory_size))
    if entry is None:
        raise NotAGuestImage(image.path, "an ELF file without a PVH entry note", _NO_NOTE)
    if not any(0 <= entry - segment.address < segment.file_size for segment in segments):
        raise MalformedImage(image.path, f"its entry {entry:#x} lies in none of its segments")
    return segments, PvhKernel(entry, is_linux)


def _program_headers(image: ImageFile) -> list[tuple[int, int, int, int, int, int]]:
    """(type, offset, physical address, file size, memory size, alignment) of each."""
    path = image.path
    head = image.read(0, 64)
    if len(head) < _IDENT_SIZE:
        raise MalformedImage(path, "it ends in its ELF header")
    elf_class, byte_order = head[4], head[5]
    if elf_class not in _HEADER or byte_order != _LITTLE_ENDIAN:
        raise NotAGuestImage(path, "an ELF file of another architecture", ACCEPTED)
    layout, segment = _HEADER[elf_class], _SEGMENT[elf_class]
    if len(head) < _IDENT_SIZE + layout.size:
        raise MalformedImage(path, "it ends in its ELF header")
    _, machine, _, _, table, _, _, _, entry_size, count = layout.unpack_from(head, _IDENT_SIZE)
    if machine not in _X86:
        name = _MACHINES.get(machine, f"machine {machine}")
        raise NotAGuestImage(path, f"an ELF file for {name}", ACCEPTED)
    if count == 0:
        raise NotAGuestImage(path, "an ELF file with nothing to load (an object file?)", ACCEPTED)
    if count > _SEGMENTS_LIMIT:
        raise MalformedImage(path, f"{count} program headers are more than {_SEGMENTS_LIMIT}")
    if entry_size != segment.size:
        raise MalformedImage(path, f"program headers of {entry_size} bytes, not {segment.size}")
    if table + count * entry_size > image.size:
        raise MalformedImage(path, f"its program headers at {table:#x} lie beyond its end")
    headers = []
    for fields in segment.iter_unpack(image.read(table, count * entry_size)):
        if elf_class == _CLASS_64:
            kind, _, offset, _, address, file_size, memory_size, alignment = fields
        else:
            kind, offset, _, address, file_size, memory_size, _, alignment = fields
        headers.append((kind, offset, address, file_size, memory_size, alignment))
    return headers


def _notes(
    image: ImageFile, name: str, offset: int, size: int, alignment: int
) -> Iterator[tuple[bytes, int, bytes]]:
    """(owner with its NUL, type, value) of each note of a PT_NOTE segment."""
    if size > _NOTES_LIMIT:
        raise MalformedImage(image.path, f"{name} has {size:#x} bytes of notes")
    notes = image.read(offset, size)
    # Notes are padded to 4 bytes, and to 8 only in segments that say so.
    pad = 7 if alignment == 8 else 3
    at = 0
    while at + _NOTE.size <= len(notes):
        owner_size, value_size, kind = _NOTE.unpack_from(notes, at)
        owner_at = at + _NOTE.size
        value_at = owner_at + owner_size + pad & ~pad
        at = value_at + value_size + pad & ~pad
        if value_at + value_size > len(notes):
            raise MalformedImage(image.path, f"a note runs over the end of {name}")
        owner = notes[owner_at : owner_at + owner_size]
        yield owner, kind, notes[value_at : value_at + value_size]


def _pvh_entry(image: ImageFile, value: bytes) -> int:
    entry = int.from_bytes(value, "little")
    if len(value) not in (4, 8) or entry >= 1 << 32:
        raise MalformedImage(image.path, "its PVH entry is no 32-bit address")
    return entry


def _clear(buffer: memoryview) -> None:
    """Fill with zeroes: RAM is not fresh when a guest is booted again."""
    for at in range(0, len(buffer), len(_ZEROES)):
        piece = buffer[at : at + len(_ZEROES)]
        piece[:] = _ZEROES[: len(piece)]
