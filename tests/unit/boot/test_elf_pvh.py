# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PVH ELF images: what is loaded where, and what is refused, in which words."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.boot import (
    AddressTaken,
    BootError,
    DoesNotFit,
    MalformedImage,
    NotAGuestImage,
)
from pyvmm.boot.elf_pvh import load
from pyvmm.boot.image import ImageFile
from pyvmm.boot.placement import Placement
from pyvmm.boot.pvh import PvhKernel
from pyvmm.memory import GuestMemory

MIB = 1 << 20
MakeElf = Callable[..., bytes]
Write = Callable[[str, bytes], str]


def load_kernel(path: str, memory: GuestMemory) -> PvhKernel:
    with ImageFile(path, "kernel") as image:
        return load(image, Placement(memory))


def load_file(path: str, memory: GuestMemory) -> int:
    return load_kernel(path, memory).address


@pytest.fixture
def load_bytes(memory: GuestMemory, write: Write) -> Callable[[bytes], int]:
    """Loads an image with these contents; returns its entry."""
    return lambda contents: load_file(write("kernel.elf", contents), memory)


# -- what is accepted -------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "machine"), [(64, 62), (32, 3), (32, 62)])
def test_segments_lie_where_they_ask_to_and_the_rest_is_cleared(
    memory: GuestMemory, make_elf: MakeElf, write: Write, bits: int, machine: int
) -> None:
    memory.view(MIB, 2 * MIB)[:] = b"\xaa" * (2 * MIB)
    text, data = b"text" * 100, b"data" * 50_000
    elf = make_elf(
        [(MIB, text, 4096), (2 * MIB, data, 300_000), (MIB + 0x8000, b"", 16)],
        entry=MIB + 8,
        bits=bits,
        machine=machine,
    )
    assert load_file(write("kernel.elf", elf), memory) == MIB + 8
    assert memory.read(MIB, 4096) == text.ljust(4096, b"\0")
    assert memory.read(2 * MIB, 300_000) == data.ljust(300_000, b"\0")
    assert memory.read(MIB + 0x8000, 17) == bytes(16) + b"\xaa"
    assert memory.read(MIB + 4096, 1) == b"\xaa"
    assert memory.read(2 * MIB + 300_000, 1) == b"\xaa"


def test_the_entry_note_is_found_among_others(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, make_note: Callable[..., bytes]
) -> None:
    others = (
        make_note(b"build id 20 bytes...", b"GNU\0", 3)
        + make_note(b"linux", b"Xen\0", 6)
        + make_note(struct.pack("<I", 1), b"Xeno\0", 18)
        + make_note(b"", b"", 18)
    )
    entry = make_note(struct.pack("<Q", MIB + 4))
    assert load_bytes(make_elf([(MIB, bytes(64), 64)], notes=others + entry)) == MIB + 4


def test_notes_of_eight_byte_alignment(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, make_note: Callable[..., bytes]
) -> None:
    notes = make_note(b"12345", b"GNU\0", 5, 7) + make_note(struct.pack("<I", MIB), pad=7)
    elf = make_elf([(MIB, bytes(64), 64)], notes=notes, note_alignment=8)
    assert load_bytes(elf) == MIB


def test_a_segment_may_lie_above_four_gib(make_elf: MakeElf, write: Write) -> None:
    with GuestMemory((3 << 30) + MIB) as memory:
        elf = make_elf([(MIB, bytes(16), 16), (4 << 30, b"high", 8)])
        assert load_file(write("kernel.elf", elf), memory) == MIB
        assert memory.read(4 << 30, 4) == b"high"


@pytest.mark.parametrize(
    ("owner", "is_linux"), [(b"Linux\0", True), (b"Linux", False), (b"GNU\0", False)]
)
def test_linux_is_told_by_a_note(
    memory: GuestMemory,
    write: Write,
    make_elf: MakeElf,
    make_note: Callable[..., bytes],
    owner: bytes,
    is_linux: bool,
) -> None:
    notes = make_note(struct.pack("<I", MIB)) + make_note(b"\0\0\0\0", owner, 0x101)
    elf = make_elf([(MIB, bytes(64), 64)], notes=notes)
    assert load_kernel(write("kernel.elf", elf), memory).is_linux is is_linux


# -- what is not a guest image ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "found"), [(183, "for AArch64"), (243, "for RISC-V"), (999, "for machine 999")]
)
def test_an_elf_file_for_another_machine(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, machine: int, found: str
) -> None:
    with pytest.raises(NotAGuestImage, match=found):
        load_bytes(make_elf([(MIB, bytes(16), 16)], machine=machine))


def test_an_elf_file_of_the_other_byte_order(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf
) -> None:
    elf = bytearray(make_elf([(MIB, bytes(16), 16)]))
    elf[5] = 2
    with pytest.raises(NotAGuestImage, match="another architecture"):
        load_bytes(bytes(elf))


def test_an_elf_file_without_a_pvh_entry(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, make_note: Callable[..., bytes]
) -> None:
    notes = make_note(b"1234", b"GNU\0", 3)
    with pytest.raises(NotAGuestImage, match="without a PVH entry note"):
        load_bytes(make_elf([(MIB, bytes(16), 16)], notes=notes))


def test_an_object_file(load_bytes: Callable[[bytes], int], make_elf: MakeElf) -> None:
    elf = patched(make_elf([(MIB, bytes(16), 16)]), 56, "<H", 0)
    with pytest.raises(NotAGuestImage, match="nothing to load"):
        load_bytes(elf)


# -- what contradicts itself ------------------------------------------------------------------

# Offsets in the 64-bit file that make_elf makes: header, the note's program header, the first
# segment's, the note.
_PHOFF, _PHENTSIZE, _PHNUM = 32, 54, 56
_NOTE_HEADER, _LOAD_HEADER = 64, 64 + 56
_OFFSET, _FILE_SIZE, _MEMORY_SIZE = 8, 32, 40
_NOTE = 64 + 2 * 56


def patched(contents: bytes, offset: int, kind: str, value: int) -> bytes:
    changed = bytearray(contents)
    struct.pack_into(kind, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "kind", "value", "what"),
    [
        (_PHOFF, "<Q", 1 << 63, "program headers at 0x8000000000000000 lie beyond its end"),
        (_PHENTSIZE, "<H", 32, "program headers of 32 bytes, not 56"),
        (_PHNUM, "<H", 0xFFFF, "65535 program headers are more than"),
        (_PHNUM, "<H", 200, "lie beyond its end"),
        (_LOAD_HEADER + _OFFSET, "<Q", 1 << 40, "program header 1 has 0x10 bytes"),
        (_LOAD_HEADER + _OFFSET, "<Q", (1 << 64) - 8, "program header 1 has 0x10 bytes"),
        (_LOAD_HEADER + _FILE_SIZE, "<Q", (1 << 64) - 1, "program header 1 has 0xffff"),
        (_LOAD_HEADER + _MEMORY_SIZE, "<Q", 15, "larger in the file than in memory"),
        (_NOTE_HEADER + _FILE_SIZE, "<Q", 1 << 32, "program header 0 has 0x100000000 bytes"),
        (_NOTE_HEADER + _FILE_SIZE, "<Q", 18, "a note runs over the end"),
        (_NOTE, "<I", 0xFFFF_FFFF, "a note runs over the end"),
        (_NOTE + 4, "<I", 0xFFFF_FFFF, "a note runs over the end"),
        (_NOTE + 4, "<I", 3, "no 32-bit address"),
        (_NOTE + 16, "<I", MIB + 16, "its entry 0x100010 lies in none of its segments"),
        (_NOTE + 16, "<I", 0, "its entry 0x0 lies in none"),
    ],
)
def test_malformed_images(
    load_bytes: Callable[[bytes], int],
    make_elf: MakeElf,
    offset: int,
    kind: str,
    value: int,
    what: str,
) -> None:
    with pytest.raises(MalformedImage) as raised:
        load_bytes(patched(make_elf([(MIB, bytes(16), 64)]), offset, kind, value))
    assert what in str(raised.value)
    assert "kernel.elf is malformed or cut off" in str(raised.value)


def test_an_entry_beyond_four_gib(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, make_note: Callable[..., bytes]
) -> None:
    notes = make_note(struct.pack("<Q", 1 << 32))
    with pytest.raises(MalformedImage, match="no 32-bit address"):
        load_bytes(make_elf([(MIB, bytes(16), 16)], notes=notes))


def test_too_many_notes(load_bytes: Callable[[bytes], int], make_elf: MakeElf) -> None:
    with pytest.raises(MalformedImage, match="bytes of notes"):
        load_bytes(make_elf([(MIB, bytes(16), 16)], notes=bytes(1 << 20)))


@pytest.mark.parametrize("size", [5, 17, 63, 100, 200, 240])
def test_images_that_were_cut_off(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, size: int
) -> None:
    with pytest.raises(MalformedImage):
        load_bytes(make_elf([(MIB, bytes(100), 100)])[:size])


# -- what has no place ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "size", "error", "message"),
    [
        (0x6800, 16, AddressTaken, "boot information"),
        (0x7000, 1, AddressTaken, "boot information"),
        (0x9_FBFF, 2, AddressTaken, "legacy hole"),
        (0xF_FFFF, 1, AddressTaken, "legacy hole"),
        (MIB + 32, 16, AddressTaken, "kernel.elf: program header 1"),
        (MIB - 1, 2, AddressTaken, "legacy hole"),
        (16 * MIB, 1, DoesNotFit, "the guest has 16 MiB"),
        (16 * MIB - 1, 2, DoesNotFit, "0xffffff-0x1000000"),
        (0xE000_0000, 16, DoesNotFit, "not (all) guest RAM"),
        (2 * MIB, (1 << 64) - 1, DoesNotFit, "not (all) guest RAM"),
        ((1 << 64) - 16, 16, DoesNotFit, "not (all) guest RAM"),
    ],
)
def test_segments_that_have_no_place(
    load_bytes: Callable[[bytes], int],
    make_elf: MakeElf,
    address: int,
    size: int,
    error: type[BootError],
    message: str,
) -> None:
    with pytest.raises(error) as raised:
        load_bytes(make_elf([(MIB, bytes(64), 64), (address, b"x", size)]))
    assert message in str(raised.value)
    assert "kernel.elf: program header 2" in str(raised.value)


@pytest.mark.parametrize(
    ("address", "size", "cure"),
    [
        (16 * MIB, 1, "; give the guest at least 41 MiB of memory, and some to work with"),
        (30 * MIB, 16 * MIB, "; give the guest at least 46 MiB of memory, and some to work with"),
        (0xC000_0000 - 1, 1, "; give the guest at least 3072 MiB of memory, and some to work with"),
        (0xC000_0000, 1, "of which 16 MiB from address 0"),
    ],
)
def test_how_much_memory_all_of_it_takes_is_told(
    load_bytes: Callable[[bytes], int], make_elf: MakeElf, address: int, size: int, cure: str
) -> None:
    """Whichever segment is the first that doesn't fit."""
    segments = [(MIB, bytes(64), 64), (address, b"x", size), (40 * MIB, b"x", MIB // 2)]
    with pytest.raises(DoesNotFit) as raised:
        load_bytes(make_elf(segments))
    assert str(raised.value).endswith(cure)


def test_nothing_is_written_unless_all_has_a_place(
    memory: GuestMemory, load_bytes: Callable[[bytes], int], make_elf: MakeElf
) -> None:
    with pytest.raises(DoesNotFit):
        load_bytes(make_elf([(MIB, b"x" * 64, 64), (16 * MIB, b"x", 1)]))
    assert memory.read(MIB, 64) == bytes(64)


# -- anything at all --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GuestMemory, Path]]:
    """Guest RAM and a file name that many examples share."""
    with GuestMemory(4 * MIB) as memory:
        yield memory, tmp_path_factory.mktemp("elf") / "kernel.elf"


@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 300),
            st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 8, bytes(8)])),
        ),
        max_size=6,
    ),
    bits=st.sampled_from([32, 64]),
    size=st.none() | st.integers(1, 350),
)
def test_a_corrupt_image_gives_a_boot_error_or_boots(
    arena: tuple[GuestMemory, Path],
    make_elf: MakeElf,
    edits: list[tuple[int, bytes]],
    bits: int,
    size: int | None,
) -> None:
    memory, path = arena
    contents = bytearray(make_elf([(MIB, bytes(64), 4096), (2 * MIB, b"data", 8)], bits=bits))
    for offset, value in edits:
        contents[offset : offset + len(value)] = value
    path.write_bytes(contents[:size])
    try:
        entry = load_file(str(path), memory)
    except BootError:
        return
    assert 0 <= entry < 4 * MIB
