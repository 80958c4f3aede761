# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What Linux is told besides the user's words, and what of those it can't be told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm import boot
from pyvmm.boot import BadCommandLine
from pyvmm.boot.command_line import encode, for_linux
from pyvmm.memory import GuestMemory
from tests.bzimages import MIB, bzimage

Write = Callable[[str, bytes], str]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "console=ttyS0"),
        ("quiet", "console=ttyS0 quiet"),
        ("console=hvc0", "console=hvc0"),
        ("quiet console=ttyS0,115200 ro", "quiet console=ttyS0,115200 ro"),
        ("quiet\tconsole=", "quiet\tconsole="),
        ("netconsole=@/,@10.0.0.1/", "console=ttyS0 netconsole=@/,@10.0.0.1/"),
        ("init=/bin/sh -- x", "console=ttyS0 init=/bin/sh -- x"),
    ],
)
def test_linux_is_told_of_its_console(given: str, told: str) -> None:
    assert for_linux(given, "ttyS0") == told
    assert for_linux(given, "") == given


def test_the_encoding_ends_with_a_nul() -> None:
    assert encode("ü", 2) == "ü".encode() + b"\0"
    assert encode("\udcff", 1) == b"\xff\0", "a byte that is no UTF-8 stays what it is"
    with pytest.raises(BadCommandLine, match="has 2 bytes, this kernel takes 1; shorten it"):
        encode("ü", 1)
    with pytest.raises(BadCommandLine, match="NUL"):
        encode("a\0", 100)


@pytest.mark.parametrize("linux", [True, False])
def test_only_linux_is_told(
    memory: GuestMemory,
    write: Write,
    make_elf: Callable[..., bytes],
    make_note: Callable[..., bytes],
    linux: bool,
) -> None:
    notes = make_note(MIB.to_bytes(4, "little")) + make_note(b"", b"Linux\0" if linux else b"GNU\0")
    elf = write("elf", make_elf([(MIB, b"\xf4" * 16, 16)], notes=notes))
    assert command_line(memory, elf) == (b"console=ttyS0 exit=3" if linux else b"exit=3")


def test_a_bzimage_is_linux(memory: GuestMemory, write: Write) -> None:
    assert command_line(memory, write("vmlinuz", bzimage())) == b"console=ttyS0 exit=3"


def test_what_is_added_counts_too(memory: GuestMemory, write: Write) -> None:
    with pytest.raises(BadCommandLine, match="has 20 bytes, this kernel takes 19"):
        command_line(memory, write("vmlinuz", bzimage(cmdline_size=19)))


def command_line(memory: GuestMemory, kernel: str) -> bytes:
    boot.load_kernel(
        memory,
        kernel,
        cpus=1,
        mmio64=(0, 0),
        last_bus=0,
        intx_gsi=lambda device, pin: 16,
        command_line="exit=3",
        console="ttyS0",
    )
    return memory.read(0x7000, 4096).split(b"\0")[0]
