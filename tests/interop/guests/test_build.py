# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The guest images as files: what a loader, and an instruction emulator, will find in them."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ["hello", "lspci", "edu", "nvme", "testdev", "states", "storm", "reset"]
PT_LOAD, PT_NOTE = 1, 4
XEN_ELFNOTE_PHYS32_ENTRY = 18


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build from nothing, in which a warning is an error."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no gcc or make: apt-get install gcc make")
    folder = tmp_path_factory.mktemp("guests") / "build"
    subprocess.run(
        ["make", "-s", "-C", ROOT / "guests", f"BUILD={folder}", "EXTRA_CFLAGS=-Werror"],
        check=True,
        timeout=100,
    )
    return folder


def segments(image: bytes) -> Iterator[tuple[int, ...]]:
    """type, flags, offset, vaddr, paddr, filesz, memsz, align of each program header."""
    table, size, count = struct.unpack_from("<32xQ14xHH", image)
    for i in range(count):
        yield struct.unpack_from("<IIQQQQQQ", image, table + i * size)


@pytest.mark.parametrize("program", PROGRAMS)
def test_pvh_elf(built: Path, program: str) -> None:
    image = (built / f"{program}.elf").read_bytes()
    assert image[:5] == b"\x7fELF\x02", "a 64-bit ELF file"
    elf_type, machine = struct.unpack_from("<HH", image, 16)
    assert (elf_type, machine) == (2, 62), "ET_EXEC for x86-64: static, at fixed addresses"

    loads = [s for s in segments(image) if s[0] == PT_LOAD]
    assert min(s[4] for s in loads) == 1 << 20
    assert all(s[3] == s[4] for s in loads), "virtual addresses are physical ones"

    (note,) = [s for s in segments(image) if s[0] == PT_NOTE]
    namesz, descsz, kind, name, entry = struct.unpack_from("<III4sQ", image, note[2])
    assert (namesz, descsz, kind, name) == (4, 8, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0")
    assert any(s[4] <= entry < s[4] + s[5] for s in loads)


@pytest.mark.parametrize("program", PROGRAMS)
def test_general_registers_only(built: Path, program: str) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("no objdump: apt-get install binutils")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", built / f"{program}.elf"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "hlt" in listing
    used = set(re.findall(r"%[xyz]?mm\d+|%st\b|cmpxchg16b|\bint3\b|fence", listing))
    assert not used, "not every hypervisor's emulator knows these"


def test_firstbyte_is_a_firmware_image(built: Path) -> None:
    image = (built / "firstbyte.bin").read_bytes()
    assert len(image) == 64 << 10
    assert set(image[:-16]) == {0xFF}, "everything is at the reset vector"
