# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a file given as a kernel is, by its first bytes: an image to boot, or something to tell of.

Sources, besides the formats' own specifications: the kernel's Documentation/arch/arm64/booting.rst
and arch/riscv/boot-image-header.rst, arch/arm/boot/compressed/head.S, and
drivers/firmware/efi/libstub/zboot-header.S, each for its magic number; the PE format
specification (Microsoft) for machine types and sections.
"""

from __future__ import annotations

HEAD_SIZE = 4096
"""How much of a file is looked at, in bytes."""

ACCEPTED = "a kernel is a bzImage (vmlinuz) or an ELF file with a PVH entry, for x86"

_ELF_MAGIC = b"\x7fELF"
_BZIMAGE_MAGIC, _BZIMAGE_MAGIC_OFFSET = b"HdrS", 0x202

_OTHER_MACHINE = "guests here are x86-64: take that architecture's kernel (Debian's is for amd64)"
_UNPACK = "if a kernel is in it, unpack it: {} FILE > vmlinux"

# (offset, magic, what it is, what to do about it)
_OTHERS = (
    (56, b"ARM\x64", "a Linux kernel for arm64", _OTHER_MACHINE),
    (48, b"RISCV\0\0\0", "a Linux kernel for RISC-V", _OTHER_MACHINE),
    (36, b"\x18\x28\x6f\x01", "a Linux zImage for 32-bit ARM", _OTHER_MACHINE),
    (0, b"\x27\x05\x19\x56", "a U-Boot uImage", _OTHER_MACHINE),
    (4, b"zimg", "an EFI zboot kernel, which unpacks itself under EFI alone", _OTHER_MACHINE),
    (0, b"\x1f\x8b", "gzip-compressed data", _UNPACK.format("zcat")),
    (0, b"\xfd7zXZ", "xz-compressed data", _UNPACK.format("xzcat")),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed data", _UNPACK.format("zstdcat")),
    (0, b"BZh", "bzip2-compressed data", _UNPACK.format("bzcat")),
    (0, b"\x02\x21\x4c\x18", "lz4-compressed data", _UNPACK.format("lz4cat")),
    (0, b"07070", "a cpio archive", "if it is the initial RAM disk, its key is initrd"),
    (0, b"!<arch>", "an ar archive or Debian package", "the kernel is in it: dpkg -x FILE FOLDER"),
    (0, b"QFI\xfb", "a qcow2 disk image", ACCEPTED),
    (0, b"#!", "a script", ACCEPTED),
    (510, b"\x55\xaa", "a boot sector or disk image", ACCEPTED),
)

_MACHINES = {
    0x14C: "i386",
    0x1C0: "ARM",
    0x1C2: "ARM",
    0x1C4: "ARM",
    0x5064: "RISC-V",
    0x6264: "LoongArch",
    0x8664: "x86-64",
    0xAA64: "arm64",
}


def is_elf(head: bytes) -> bool:
    return head.startswith(_ELF_MAGIC)


def is_bzimage(head: bytes) -> bool:
    """Whether a Linux setup header is where x86 kernels have it (Linux 1.3.73 and later)."""
    return head.startswith(_BZIMAGE_MAGIC, _BZIMAGE_MAGIC_OFFSET)


def describe(head: bytes) -> tuple[str, str]:
    """What a file is that begins with head (HEAD_SIZE bytes, if it has them), and what to do."""
    for offset, magic, what, cure in _OTHERS:
        if head.startswith(magic, offset):
            return what, cure
    if head.startswith(b"MZ"):
        return _executable(head)
    if head.isascii() and head.decode().replace("\n", "").replace("\t", "").isprintable():
        return "a text file", ACCEPTED
    return f"data of an unknown kind (it begins with {head[:8].hex(' ')})", ACCEPTED


def _executable(head: bytes) -> tuple[str, str]:
    """A DOS, Windows or EFI program; those for other machines are most often kernels too."""
    if b".linux\0\0" in head:  # the name of a section
        return (
            "a unified kernel image, a program for EFI",
            "take out what is in it: objcopy -O binary --only-section=.linux FILE vmlinuz, "
            "and .initrd likewise",
        )
    signature_at = int.from_bytes(head[0x3C:0x40], "little")
    if head.startswith(b"PE\0\0", signature_at):
        machine = int.from_bytes(head[signature_at + 4 : signature_at + 6], "little")
        name = _MACHINES.get(machine, f"machine {machine:#x}")
        what = f"an EFI or Windows program for {name}"
        if name in ("x86-64", "i386"):
            return what, f"{ACCEPTED}; if it is a bzImage, it is cut off: copy it again"
        return what, _OTHER_MACHINE
    return "an EFI or DOS executable", ACCEPTED
