# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Files that are no kernel for this machine: each is told by what it is, and what to do."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.boot.detect import describe, is_bzimage, is_elf
from tests.bzimages import bzimage

OTHER_MACHINE = "guests here are x86-64: take that architecture's kernel"
ACCEPTED = "a kernel is a bzImage (vmlinuz) or an ELF file with a PVH entry"


def at(offset: int, magic: bytes, start: bytes = b"") -> bytes:
    return start.ljust(offset, b"\0") + magic + bytes(100)


def pe(machine: int, *sections: bytes) -> bytes:
    head = (b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)).ljust(0x80, b"\0")
    head += b"PE\0\0" + struct.pack("<HH", machine, len(sections))
    return head + bytes(200) + b"".join(name.ljust(40, b"\0") for name in sections)


@pytest.mark.parametrize(
    ("head", "what", "cure"),
    [
        (at(56, b"ARM\x64", b"MZ"), "a Linux kernel for arm64", OTHER_MACHINE),
        (at(48, b"RISCV\0\0\0\0\0\0\0RSC\x05", b"MZ"), "a Linux kernel for RISC-V", OTHER_MACHINE),
        (at(36, b"\x18\x28\x6f\x01"), "a Linux zImage for 32-bit ARM", OTHER_MACHINE),
        (at(4, b"zimg", b"MZ"), "an EFI zboot kernel", OTHER_MACHINE),
        (b"\x27\x05\x19\x56" + bytes(60), "a U-Boot uImage", OTHER_MACHINE),
        (pe(0xAA64), "an EFI or Windows program for arm64", OTHER_MACHINE),
        (pe(0x6264), "an EFI or Windows program for LoongArch", OTHER_MACHINE),
        (
            pe(0x8664),
            "an EFI or Windows program for x86-64",
            "if it is a bzImage, it is cut off: copy it again",
        ),
        (pe(0x8664, b".osrel", b".linux"), "a unified kernel image", "objcopy -O binary"),
        (b"MZ" + bytes(1000), "an EFI or DOS executable", ACCEPTED),
        (b"\x1f\x8b\x08" + bytes(20), "gzip-compressed data", "unpack it: zcat FILE > vmlinux"),
        (b"\xfd7zXZ\0", "xz-compressed data", "xzcat FILE"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed data", "zstdcat FILE"),
        (b"\x02\x21\x4c\x18", "lz4-compressed data", "lz4cat FILE"),
        (b"BZh9", "bzip2-compressed data", "bzcat FILE"),
        (b"070701" + b"0" * 100, "a cpio archive", "its key is initrd"),
        (b"!<arch>\ndebian-binary", "an ar archive or Debian package", "dpkg -x"),
        (b"#!/bin/sh\n", "a script", ACCEPTED),
        (b"memory: 64M\n\tboot: x\n", "a text file", ACCEPTED),
        (at(510, b"\x55\xaa"), "a boot sector", ACCEPTED),
        (b"\x01\x02\x03", "data of an unknown kind (it begins with 01 02 03)", ACCEPTED),
        (b"\x7fEL", "data of an unknown kind", ACCEPTED),
    ],
)
def test_other_files_are_told_by_name(head: bytes, what: str, cure: str) -> None:
    assert not is_elf(head)
    assert not is_bzimage(head)
    found, advice = describe(head)
    assert what in found
    assert cure in advice


def test_bzimages_are_programs_for_efi_too() -> None:
    image = b"MZ" + bzimage()[2:]
    assert is_bzimage(image)


@given(st.binary(max_size=80), st.sampled_from([b"", b"MZ", b"MZ\0\0"]))
def test_anything_is_something(rest: bytes, start: bytes) -> None:
    found, advice = describe(start + rest)
    assert found
    assert advice
