# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""bzImages made by hand: a setup header such as Linux has, and some code."""

from __future__ import annotations

import struct

MIB = 1 << 20

FIELDS = {
    "setup_sects": (0x1F1, "<B", 3),
    "syssize": (0x1F4, "<I", 0),
    "boot_flag": (0x1FE, "<H", 0xAA55),
    "jump": (0x200, "<H", 0x6AEB),
    "header": (0x202, "<4s", b"HdrS"),
    "version": (0x206, "<H", 0x020F),
    "loadflags": (0x211, "<B", 1),
    "initrd_addr_max": (0x22C, "<I", 0x7FFF_FFFF),
    "kernel_alignment": (0x230, "<I", 2 * MIB),
    "relocatable_kernel": (0x234, "<B", 1),
    "min_alignment": (0x235, "<B", 21),
    "xloadflags": (0x236, "<H", 0x7F),
    "cmdline_size": (0x238, "<I", 2047),
    "payload_offset": (0x248, "<I", 0x40),
    "payload_length": (0x24C, "<I", 0x80),
    "setup_data": (0x250, "<Q", 0),
    "pref_address": (0x258, "<Q", 2 * MIB),
    "init_size": (0x260, "<I", MIB),
}
"""Name: offset, format and usual value. A syssize of 0 stands for the right one."""

CODE_AT = 4 * 512
"""Where the code is in the file, unless setup_sects says otherwise."""


def bzimage(code: bytes = b"\xf4" * 0x400, **fields: int) -> bytes:
    """An image with code as what is loaded; the 64-bit entry is 0x200 bytes into that."""
    code = code.ljust(-(-len(code) // 16) * 16, b"\0")
    head = bytearray(CODE_AT)
    for name, (offset, kind, usual) in FIELDS.items():
        value = fields.pop(name, usual)
        if name == "syssize" and not value:
            value = len(code) // 16
        struct.pack_into(kind, head, offset, value)
    assert not fields, f"no such fields: {fields}"
    return bytes(head) + code
