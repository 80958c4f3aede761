# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""exit-guest: a program for Linux guests that ends the VM, with an exit status, by a port.

    exit-guest CODE

Debian's kernels for clouds have no /dev/port, with which a shell could do it. So it takes a
program that asks for the port by ioperm(2), and one so small needs no compiler: this is an ELF
file with a single segment, which is all of it. If it comes back, with status 1, the kernel has
refused the port, or nothing is behind it.
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_ELF_HEADER_SIZE, _PROGRAM_HEADER_SIZE = 64, 56
_IDENT = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
_EXECUTABLE, _X86_64 = 2, 62
_LOAD, _READ_AND_EXECUTE = 1, 5
_PAGE = 4096


def exit_program(port: int) -> bytes:
    """The program's file. port takes the code, a byte."""
    code = _code(port.to_bytes(4, "little"))
    entry = _ELF_HEADER_SIZE + _PROGRAM_HEADER_SIZE
    size = entry + len(code)
    elf_header = _IDENT + struct.pack(
        "<HHIQQQIHHHHHH",
        *(_EXECUTABLE, _X86_64, 1, _BASE + entry, _ELF_HEADER_SIZE, 0, 0),
        *(_ELF_HEADER_SIZE, _PROGRAM_HEADER_SIZE, 1, 0, 0, 0),
    )
    program_header = struct.pack(
        "<IIQQQQQQ", _LOAD, _READ_AND_EXECUTE, 0, _BASE, _BASE, size, size, _PAGE
    )
    return elf_header + program_header + code


def _code(port: bytes) -> bytes:
    return b"".join(
        (
            b"\x48\x8b\x74\x24\x10",  # mov rsi, [rsp + 16]: argv[1]
            b"\x31\xdb",  # xor ebx, ebx
            # digit:
            b"\xac",  # lodsb
            b"\x84\xc0",  # test al, al
            b"\x74\x0c",  # jz end
            b"\x6b\xdb\x0a",  # imul ebx, ebx, 10
            b"\x0f\xb6\xc0",  # movzx eax, al
            b"\x8d\x5c\x03\xd0",  # lea ebx, [rbx + rax - '0']
            b"\xeb\xef",  # jmp digit
            # end:
            b"\xbf" + port,  # mov edi, port
            b"\xbe\x01\x00\x00\x00",  # mov esi, 1: one port
            b"\xba\x01\x00\x00\x00",  # mov edx, 1: switched on
            b"\xb8\xad\x00\x00\x00",  # mov eax, 173: ioperm
            b"\x0f\x05",  # syscall
            b"\x85\xc0",  # test eax, eax
            b"\x75\x08",  # jnz refused
            b"\xba" + port,  # mov edx, port
            b"\x89\xd8",  # mov eax, ebx
            b"\xee",  # out dx, al
            # refused:
            b"\xbf\x01\x00\x00\x00",  # mov edi, 1
            b"\xb8\x3c\x00\x00\x00",  # mov eax, 60: exit
            b"\x0f\x05",  # syscall
        )
    )
