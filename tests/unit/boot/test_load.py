# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""load_kernel(): what the guest finds in its RAM, and the errors around files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm import boot
from pyvmm.boot import BadCommandLine, DoesNotFit, UnreadableImage
from pyvmm.memory import GuestMemory, layout

MIB = 1 << 20
MakeElf = Callable[..., bytes]
Write = Callable[[str, bytes], str]


class StartInfo:
    """hvm_start_info as a guest reads it, field by field."""

    def __init__(self, memory: GuestMemory, address: int) -> None:
        (
            self.magic,
            self.version,
            self.flags,
            modules,
            modules_at,
            command_line_at,
            self.rsdp,
            map_at,
            entries,
            _,
        ) = struct.unpack("<IIIIQQQQII", memory.read(address, 56))
        self.modules = [
            struct.unpack("<QQQQ", memory.read(modules_at + 32 * i, 32)) for i in range(modules)
        ]
        self.memory_map = [
            struct.unpack("<QQII", memory.read(map_at + 24 * i, 24)) for i in range(entries)
        ]
        self.command_line = memory.read(command_line_at, 4096).split(b"\0")[0]


def load(memory: GuestMemory, path: str | boot.ImageFile, **options: object) -> boot.Entry:
    defaults: dict[str, object] = {
        "cpus": 2,
        "mmio64": (1 << 33, 1 << 40),
        "last_bus": 0,
        "intx_gsi": lambda device, pin: 16 + (device + pin - 1) % 8,
    }
    entry: boot.Entry = boot.load_kernel(memory, path, **{**defaults, **options})  # type: ignore[arg-type]
    return entry


def start_info(memory: GuestMemory, entry: boot.Entry) -> StartInfo:
    start = entry.start_info  # type: ignore[attr-defined]
    return StartInfo(memory, start)


@pytest.fixture
def kernel(make_elf: MakeElf, write: Write) -> str:
    return write("kernel.elf", make_elf([(MIB, b"\xf4" * 16, 16)]))


def test_start_info(memory: GuestMemory, kernel: str) -> None:
    entry = load(memory, kernel, command_line="console=ttyS0 ümlaut")
    assert (entry.kind, entry.address) == ("pvh", MIB)
    info = start_info(memory, entry)
    assert (info.magic, info.version, info.flags) == (0x336EC578, 1, 0)
    assert info.command_line.decode() == "console=ttyS0 ümlaut"
    assert info.modules == []
    assert info.rsdp == layout.ACPI_BASE
    assert memory.read(info.rsdp, 8) == b"RSD PTR "
    assert info.memory_map[0] == (0, 0x9_FC00, 1, 0)
    assert (MIB, 15 * MIB, 1, 0) in info.memory_map


def test_an_initrd_ends_at_the_top_of_ram(memory: GuestMemory, kernel: str, write: Write) -> None:
    contents = os.urandom(5000)
    entry = load(memory, kernel, initrd=write("initrd", contents))
    (module,) = start_info(memory, entry).modules
    assert module == (16 * MIB - 8192, 5000, 0, 0)
    assert memory.read(module[0], 5000) == contents


def test_an_initrd_lies_below_what_is_at_the_top(
    memory: GuestMemory, make_elf: MakeElf, write: Write
) -> None:
    kernel = write("kernel.elf", make_elf([(MIB, b"x", 1), (16 * MIB - 4096, b"top", 3)]))
    entry = load(memory, kernel, initrd=write("initrd", b"i" * 4096))
    assert start_info(memory, entry).modules == [(16 * MIB - 8192, 4096, 0, 0)]
    assert memory.read(16 * MIB - 4096, 3) == b"top"


def test_an_initrd_is_below_four_gib(make_elf: MakeElf, write: Write) -> None:
    with GuestMemory((3 << 30) + 2 * MIB) as memory:
        kernel = write("kernel.elf", make_elf([(MIB, b"x", 1), (4 << 30, b"high", 4)]))
        entry = load(memory, kernel, initrd=write("initrd", b"initrd"))
        assert start_info(memory, entry).modules == [((3 << 30) - 4096, 6, 0, 0)]


@pytest.mark.parametrize("size", [15 * MIB, 17 * MIB])
def test_an_initrd_that_does_not_fit(
    memory: GuestMemory, kernel: str, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "initrd"
    path.touch()
    os.truncate(path, size)
    with pytest.raises(DoesNotFit, match=r"initrd .*does not fit guest RAM.*give the guest more"):
        load(memory, kernel, initrd=str(path))


def test_phases_are_told(memory: GuestMemory, kernel: str, write: Write) -> None:
    phases: list[str] = []
    load(memory, kernel, initrd=write("initrd", b"i"), done=phases.append)
    assert phases == ["kernel", "initrd", "boot information"]


def test_a_guest_is_booted_again_from_used_memory(memory: GuestMemory, kernel: str) -> None:
    first = load(memory, kernel, command_line="first and longer")
    memory.view(MIB, MIB)[:] = b"\xff" * MIB
    second = load(memory, kernel, command_line="second")
    assert start_info(memory, second).command_line == b"second"
    assert memory.read(MIB, 16) == b"\xf4" * 16
    assert (first.address, second.address) == (MIB, MIB)


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2047, 2048])
def test_the_longest_command_line(memory: GuestMemory, kernel: str, length: int) -> None:
    line = "x" * length
    if length == 2047:
        assert start_info(memory, load(memory, kernel, command_line=line)).command_line == (
            line.encode()
        )
    else:
        with pytest.raises(BadCommandLine, match="has 2048 bytes, this kernel takes 2047"):
            load(memory, kernel, command_line=line)


def test_a_command_line_with_a_nul(memory: GuestMemory, kernel: str) -> None:
    with pytest.raises(BadCommandLine, match="NUL"):
        load(memory, kernel, command_line="a\0b")


@pytest.mark.parametrize("which", ["kernel", "initrd"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "open: ENOENT"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: path.symlink_to(path), "open: ELOOP"),
    ],
)
def test_files_that_cannot_be_read(
    memory: GuestMemory,
    kernel: str,
    tmp_path: Path,
    no_leaks: None,
    which: str,
    make: Callable[[Path], None],
    message: str,
) -> None:
    path = tmp_path / "file"
    make(path)
    kernel, initrd = (str(path), None) if which == "kernel" else (kernel, str(path))
    with pytest.raises(UnreadableImage) as raised:
        load(memory, kernel, initrd=initrd)
    assert message in str(raised.value)
    assert f"{which} {path}" in str(raised.value)


def test_a_path_that_is_none(memory: GuestMemory) -> None:
    with pytest.raises(UnreadableImage, match="null"):
        load(memory, "a\0b")


def test_too_little_ram(kernel: str) -> None:
    with GuestMemory(512 << 10) as memory, pytest.raises(DoesNotFit, match="at least 1 MiB"):
        load(memory, kernel)


def test_a_file_that_shrinks_while_it_is_read(
    memory: GuestMemory, write: Write, no_leaks: None
) -> None:
    from pyvmm.boot.image import ImageFile

    path = write("image", bytes(8192))
    with ImageFile(path, "kernel") as image:
        os.truncate(path, 4096)
        with pytest.raises(UnreadableImage, match="became shorter"):
            image.read_into(memory.view(MIB, 8192), 0)


def test_open_files_are_read_again_where_their_paths_are_gone(
    write: Write, kernel: str, memory: GuestMemory
) -> None:
    paths = kernel, write("initrd", b"initrd")
    with boot.ImageFile(paths[0], "kernel") as image, boot.ImageFile(paths[1], "initrd") as initrd:
        for path in paths:
            os.unlink(path)
        for _ in range(2):
            entry = load(memory, image, initrd=initrd)
            ((address, size, _, _),) = start_info(memory, entry).modules
            assert memory.read(address, size) == b"initrd"
