# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a file given as a kernel is, by its first bytes, when it is not one."""

from __future__ import annotations

_BZIMAGE_MAGIC_OFFSET = 0x202

_OTHERS = (
    (_BZIMAGE_MAGIC_OFFSET, b"HdrS", "a bzImage"),
    (0, b"MZ", "an EFI or DOS executable"),
    (0, b"\x1f\x8b", "gzip-compressed data"),
    (0, b"\xfd7zXZ", "xz-compressed data"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (0, b"07070", "a cpio archive (an initrd?)"),
    (0, b"!<arch>", "an ar archive or Debian package"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"#!", "a script"),
    (510, b"\x55\xaa", "a boot sector or disk image"),
)


def describe(head: bytes) -> str:
    """What a file is that begins with head (the first KiB, if it has one)."""
    for offset, magic, what in _OTHERS:
        if head.startswith(magic, offset):
            return what
    if head.isascii() and head.decode().replace("\n", "").replace("\t", "").isprintable():
        return "a text file"
    return f"data of an unknown kind (it begins with {head[:8].hex(' ')})"
