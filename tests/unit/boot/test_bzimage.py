# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""bzImages: what of them is loaded where, what Linux is told, and what is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import cast

import pytest

from pyvmm import boot
from pyvmm.boot import (
    BadCommandLine,
    BootError,
    DoesNotFit,
    MalformedImage,
    NotAGuestImage,
)
from pyvmm.kvm import Vcpu
from pyvmm.memory import GuestMemory, layout
from tests.bzimages import CODE_AT, MIB, bzimage
from tests.unit.boot.dirty_vcpu import DirtyVcpu

GIB = 1 << 30
Write = Callable[[str, bytes], str]


class ZeroPage:
    """struct boot_params as Linux reads it."""

    def __init__(self, memory: GuestMemory, address: int) -> None:
        self.bytes = page = memory.read(address, 4096)

        def field(kind: str, offset: int) -> int:
            return int(struct.unpack_from(kind, page, offset)[0])

        self.rsdp = field("<Q", 0x070)
        self.initrd = field("<I", 0x0C0) << 32 | field("<I", 0x218)
        self.initrd_size = field("<I", 0x0C4) << 32 | field("<I", 0x21C)
        self.sentinel = page[0x1EF]
        self.loader = page[0x210]
        self.video_mode = field("<H", 0x1FA)
        self.code_start = field("<I", 0x214)
        self.command_line = memory.read(field("<I", 0x228), 4096).split(b"\0")[0]
        self.setup_data = field("<Q", 0x250)
        self.memory_map = [
            struct.unpack_from("<QQI", page, 0x2D0 + 20 * i) for i in range(page[0x1E8])
        ]


def load(memory: GuestMemory, path: str, **options: object) -> boot.Entry:
    defaults: dict[str, object] = {
        "cpus": 2,
        "mmio64": (1 << 33, 1 << 40),
        "last_bus": 0,
        "intx_gsi": lambda device, pin: 16 + (device + pin - 1) % 8,
    }
    entry: boot.Entry = boot.load_kernel(memory, path, **{**defaults, **options})  # type: ignore[arg-type]
    return entry


def zero_page(memory: GuestMemory, entry: boot.Entry) -> ZeroPage:
    return ZeroPage(memory, entry.rsi)  # type: ignore[attr-defined]


@pytest.fixture
def load_bytes(memory: GuestMemory, write: Write) -> Callable[[bytes], boot.Entry]:
    return lambda contents: load(memory, write("vmlinuz", contents))


CODE = bytes(range(256)) * 8


# -- what Linux finds -------------------------------------------------------------------------


def test_the_zero_page(memory: GuestMemory, write: Write) -> None:
    contents = os.urandom(5000)
    path = write("vmlinuz", bzimage(CODE))
    entry = load(memory, path, command_line="root=/dev/vda ü", initrd=write("initrd", contents))
    page = zero_page(memory, entry)
    assert page.command_line.decode() == "root=/dev/vda ü"
    assert page.rsdp == layout.ACPI_BASE
    assert memory.read(page.rsdp, 8) == b"RSD PTR "
    assert (page.initrd, page.initrd_size) == (16 * MIB - 8192, 5000)
    assert memory.read(page.initrd, 5000) == contents
    assert (page.loader, page.video_mode, page.sentinel) == (0xFF, 0xFFFF, 0)
    assert page.code_start == 2 * MIB
    assert (0, 0x9_FC00, 1) in page.memory_map
    assert (MIB, 15 * MIB, 1) in page.memory_map
    assert page.memory_map == sorted(page.memory_map)


def test_the_setup_header_is_the_images_own(memory: GuestMemory, write: Write) -> None:
    image = bytearray(bzimage(CODE))
    image[0x268:0x26C] = b"info"  # the last field, of protocol 2.15
    image[0x26C:0x280] = b"x" * 20  # code of the real-mode kernel
    page = zero_page(memory, load(memory, write("vmlinuz", bytes(image))))
    assert page.bytes[0x268:0x26C] == b"info"
    assert page.bytes[0x26C:0x280] == bytes(20)
    assert page.bytes[0x230:0x234] == struct.pack("<I", 2 * MIB)
    assert not any(page.bytes[:0x70])


def test_random_numbers_to_begin_with(memory: GuestMemory, write: Write) -> None:
    path = write("vmlinuz", bzimage(CODE))
    seeds = set()
    for _ in range(2):
        at = zero_page(memory, load(memory, path)).setup_data
        following, kind, size = struct.unpack("<QII", memory.read(at, 16))
        assert (following, kind, size) == (0, 9, 32)
        seeds.add(memory.read(at + 16, size))
    assert len(seeds) == 2


def test_without_an_initrd(memory: GuestMemory, write: Write) -> None:
    page = zero_page(memory, load(memory, write("vmlinuz", bzimage(CODE))))
    assert (page.initrd, page.initrd_size) == (0, 0)


def walk(memory: GuestMemory, cr3: int, linear: int) -> int | None:
    """Where 4-level paging takes a linear address; large pages only, as the walk expects."""
    table = cr3
    for shift in (39, 30, 21):
        entry = int.from_bytes(memory.read(table + 8 * (linear >> shift & 511), 8), "little")
        if entry & 3 != 3:
            return None
        table = entry & 0xF_FFFF_FFFF_F000
    assert entry & 0x80
    return table | linear & 0x1F_FFFF


def test_the_state_it_starts_in(memory: GuestMemory, write: Write) -> None:
    entry = load(memory, write("vmlinuz", bzimage(CODE)))
    assert (entry.kind, entry.address) == ("64-bit Linux", 2 * MIB + 0x200)
    vcpu = DirtyVcpu()
    entry.apply(cast(Vcpu, vcpu))
    sregs, regs = vcpu.sregs, vcpu.regs
    assert (regs.rip, regs.rflags) == (entry.address, 2)
    assert memory.read(regs.rsi + 0x202, 4) == b"HdrS"
    assert sregs.cr0 & 0x8000_0001 == 0x8000_0001
    assert (sregs.cr4, sregs.efer) == (0x20, 0x500)
    assert (sregs.cs.selector, sregs.cs.l, sregs.cs.db) == (0x10, 1, 0)
    for data in (sregs.ds, sregs.es, sregs.ss):
        assert (data.selector, data.type, data.present, data.dpl) == (0x18, 3, 1, 0)
    gdt = struct.unpack("<4Q", memory.read(sregs.gdt.base, sregs.gdt.limit + 1))
    assert gdt == (0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
    for linear in (0, regs.rsi, 2 * MIB + 0x200, 3 * MIB - 1, GIB - 1):
        assert walk(memory, sregs.cr3, linear) == linear
    assert walk(memory, sregs.cr3, GIB) is None
    assert sregs.apic_base == 0xA5A5_A5A5_A5A5_A5A5, "the local APIC stays where it is"


def test_all_that_the_kernel_needs_is_mapped(write: Write) -> None:
    path = write("vmlinuz", bzimage(CODE, pref_address=2 * GIB - 2 * MIB, init_size=4 * MIB))
    with GuestMemory(3 * GIB) as memory:
        vcpu = DirtyVcpu()
        load(memory, path).apply(cast(Vcpu, vcpu))
        for linear in (0, 2 * GIB - 1, 2 * GIB, 2 * GIB + 2 * MIB - 1):
            assert walk(memory, vcpu.sregs.cr3, linear) == linear


# -- where it lies ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({}, 2 * MIB),
        ({"pref_address": 4 * MIB}, 4 * MIB),
        ({"pref_address": 0}, 2 * MIB),
        ({"pref_address": 0, "kernel_alignment": 4096}, MIB),
        ({"pref_address": 2 * MIB + 1}, 4 * MIB),
        ({"relocatable_kernel": 0, "pref_address": 8 * MIB, "kernel_alignment": 3}, MIB),
        ({"relocatable_kernel": 0, "pref_address": 0}, MIB),
    ],
)
def test_where_the_code_goes(
    memory: GuestMemory,
    load_bytes: Callable[[bytes], boot.Entry],
    fields: dict[str, int],
    address: int,
) -> None:
    entry = load_bytes(bzimage(CODE, **fields))
    assert entry.address == address + 0x200
    assert memory.read(address, len(CODE)) == CODE
    assert zero_page(memory, entry).code_start == address


def test_only_the_code_is_loaded(
    memory: GuestMemory, load_bytes: Callable[[bytes], boot.Entry]
) -> None:
    load_bytes(bzimage(CODE) + b"signature")
    assert memory.read(2 * MIB, len(CODE) + 9) == CODE + bytes(9)


def test_a_size_of_the_setup_that_isnt_told_is_four_sectors(
    memory: GuestMemory, load_bytes: Callable[[bytes], boot.Entry]
) -> None:
    image = bzimage(bytes(512) + CODE, setup_sects=0, syssize=len(CODE) // 16)
    load_bytes(image)
    assert memory.read(2 * MIB, len(CODE)) == CODE


def test_the_last_paragraph_may_be_cut(
    memory: GuestMemory, load_bytes: Callable[[bytes], boot.Entry]
) -> None:
    load_bytes(bzimage(CODE)[:-15])
    assert memory.read(2 * MIB, len(CODE)) == CODE[:-15] + bytes(15)


@pytest.mark.parametrize(
    ("fields", "initrd_end"),
    [
        ({}, (4 << 30) + 2 * MIB),
        ({"xloadflags": 1}, 0x8000_0000),
        ({"xloadflags": 1, "initrd_addr_max": 0x37FF_FFFF}, 0x3800_0000),
        ({"xloadflags": 1, "initrd_addr_max": 0xFFFF_FFFF}, 0xC000_0000),
        ({"xloadflags": 1, "initrd_addr_max": 4 * MIB + 5}, 4 * MIB),
    ],
)
def test_an_initrd_lies_as_high_as_it_may(
    write: Write, fields: dict[str, int], initrd_end: int
) -> None:
    path = write("vmlinuz", bzimage(CODE, **fields))
    with GuestMemory(3 * GIB + 2 * MIB) as memory:
        page = zero_page(memory, load(memory, path, initrd=write("initrd", b"i" * 4096)))
        assert page.initrd == initrd_end - 4096
        assert memory.read(page.initrd, 4096) == b"i" * 4096


def test_an_initrd_keeps_out_of_what_the_kernel_unpacks_itself_to(
    memory: GuestMemory, write: Write
) -> None:
    path = write("vmlinuz", bzimage(CODE, init_size=14 * MIB))
    page = zero_page(memory, load(memory, path, initrd=write("initrd", b"i" * MIB)))
    assert page.initrd == MIB


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "found", "cure"),
    [
        ({"loadflags": 0x80}, "a zImage", "a kernel is a bzImage"),
        ({"version": 0x0200, "loadflags": 0}, "a zImage", "a kernel is a bzImage"),
        (
            {"version": 0x020B},
            "of boot protocol 2.11, which has no 64-bit",
            "take Linux 3.8",
        ),
        ({"version": 0x0200}, "of boot protocol 2.00", "for x86-64"),
        ({"xloadflags": 0x0E}, "a Linux kernel for 32-bit x86", "kernel for amd64"),
    ],
)
def test_kernels_without_a_64_bit_entry(
    load_bytes: Callable[[bytes], boot.Entry], fields: dict[str, int], found: str, cure: str
) -> None:
    with pytest.raises(NotAGuestImage) as raised:
        load_bytes(bzimage(CODE, **fields))
    message = str(raised.value)
    assert "vmlinuz is a" in message
    assert found in message
    assert cure in message


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"boot_flag": 0x1234}, "no boot flag (0xaa55)"),
        ({"jump": 0x61EB}, "its setup header would end at 0x263"),
        ({"jump": 0x8FEB}, "its setup header would end at 0x291"),
        ({"setup_sects": 64}, "0x800 bytes at 0x8200, the file has 0x1000 in all"),
        ({"setup_sects": 7}, "0x800 bytes at 0x1000"),
        ({"syssize": 0x81}, "its header tells of 0x810 bytes at 0x800"),
        ({"syssize": 0xFFFF_FFFF}, "its header tells of 0xffffffff0 bytes"),
        ({"syssize": 0x20}, "its header tells of 0x200 bytes"),
        ({"payload_offset": 0x7FF, "payload_length": 2}, "its payload of 0x2 bytes at 0x7ff ends"),
        ({"payload_length": 0xFFFF_FFFF}, "ends beyond its code"),
        ({"kernel_alignment": 3 * MIB}, "alignment 0x300000 is no power of two"),
        ({"kernel_alignment": 0}, "alignment 0x0 is no power of two"),
        ({"init_size": 0x7FF}, "claims to need 0x7ff bytes of RAM for 0x800 of code"),
        ({"pref_address": 4096, "kernel_alignment": 4096}, "would run at 0x1000-"),
        ({"pref_address": 1 << 32}, "would run at 0x100000000-"),
        ({"pref_address": (1 << 64) - 1}, "not from 1 MiB to 4 GiB"),
        ({"init_size": 0xFFFF_FFFF}, "not from 1 MiB to 4 GiB"),
        ({"kernel_alignment": 1 << 31, "pref_address": (1 << 31) + 1}, "would run at 0x100000000"),
    ],
)
def test_headers_that_lie(
    load_bytes: Callable[[bytes], boot.Entry], fields: dict[str, int], what: str
) -> None:
    with pytest.raises(MalformedImage) as raised:
        load_bytes(bzimage(CODE, **fields))
    message = str(raised.value)
    assert what in message
    assert "vmlinuz is malformed or cut off" in message
    assert "build or copy it again" in message


@pytest.mark.parametrize("size", [0x206, 0x263, 0x290, CODE_AT - 1, CODE_AT, CODE_AT + 0x7F0])
def test_images_that_were_cut_off(load_bytes: Callable[[bytes], boot.Entry], size: int) -> None:
    with pytest.raises(MalformedImage, match="malformed or cut off"):
        load_bytes(bzimage(CODE)[:size])


def test_too_little_ram_to_unpack(load_bytes: Callable[[bytes], boot.Entry]) -> None:
    with pytest.raises(DoesNotFit) as raised:
        load_bytes(bzimage(CODE, pref_address=2 * MIB, init_size=14 * MIB + 1))
    message = str(raised.value)
    assert "needs 17 MiB of RAM while it unpacks itself, the guest has 16 MiB" in message
    assert "give it more memory" in message


def test_an_initrd_that_the_kernel_leaves_no_room_for(memory: GuestMemory, write: Write) -> None:
    path = write("vmlinuz", bzimage(CODE, init_size=14 * MIB))
    initrd = write("initrd", b"i" * (MIB + 1))
    with pytest.raises(DoesNotFit, match=r"initrd .* of 2 MiB does not fit .* has 16 MiB; give"):
        load(memory, path, initrd=initrd)


def test_an_initrd_that_the_kernel_takes_no_higher(memory: GuestMemory, write: Write) -> None:
    path = write("vmlinuz", bzimage(CODE, xloadflags=1, initrd_addr_max=4 * MIB - 1))
    initrd = write("initrd", b"i" * (2 * MIB))
    with pytest.raises(DoesNotFit, match=r"has 16 MiB, and the kernel takes it below 0x400000; g"):
        load(memory, path, initrd=initrd)


@pytest.mark.parametrize(("size", "limit"), [(300, 300), (0, 0), (100_000, 4095)])
def test_the_longest_command_line_is_the_kernels(
    memory: GuestMemory, write: Write, size: int, limit: int
) -> None:
    path = write("vmlinuz", bzimage(CODE, cmdline_size=size))
    page = zero_page(memory, load(memory, path, command_line="x" * limit))
    assert page.command_line == b"x" * limit
    with pytest.raises(BadCommandLine, match=f"has {limit + 1} bytes, this kernel takes {limit}"):
        load(memory, path, command_line="x" * (limit + 1))


def test_nothing_is_written_for_an_image_that_is_refused(
    memory: GuestMemory, load_bytes: Callable[[bytes], boot.Entry]
) -> None:
    with pytest.raises(BootError):
        load_bytes(bzimage(CODE)[:-16])
    assert not any(memory.read(0, 16 * MIB))
