# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PVH images, bzImages and flat firmware take their first steps on a real vCPU."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm import boot
from pyvmm.kvm import Exit, Halted, System, Vcpu, Vm, run
from pyvmm.memory import AddressMap, GuestMemory, layout
from tests.bzimages import bzimage

pytestmark = pytest.mark.kvm

MIB = 1 << 20
PORT = 0xF4
ENTRY = 0x10_0000


class Recorder:
    """Keeps what the guest writes to a port."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        self.values.append(value)


class Guest:
    """RAM, a VM without interrupt controllers (so that HLT ends a run), and one vCPU."""

    def __init__(self, memory: GuestMemory, vm: Vm, vcpu: Vcpu) -> None:
        self.memory = memory
        self.vm = vm
        self.vcpu = vcpu

    def run(self, entry: boot.Entry) -> tuple[list[int], Exit]:
        """What the guest wrote to PORT until it ended, and how it ended."""
        recorder = Recorder()
        ports = AddressMap("ports")
        ports.add(PORT, 4, recorder)
        entry.apply(self.vcpu)
        end = run(self.vcpu, ports, AddressMap("MMIO"))
        return recorder.values, end


@pytest.fixture
def guest(no_leaks: None) -> Iterator[Guest]:
    with System() as system, system.create_vm() as vm, GuestMemory(4 * MIB) as memory:
        memory.add_observer(vm.memslots)
        try:
            yield Guest(memory, vm, vm.create_vcpu(0))
        finally:
            memory.remove_observer(vm.memslots)


def pvh_elf(code: bytes) -> bytes:
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", ENTRY)
    note_at = 64 + 2 * 56
    code_at = note_at + len(note)
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1),
        *(2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 2, 0, 0, 0),
    )
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    size = len(code)
    text = struct.pack("<IIQQQQQQ", 1, 7, code_at, ENTRY, ENTRY, size, size + 4096, 4096)
    return header + notes + text + note + code


def test_a_pvh_image_starts_as_the_protocol_has_it(guest: Guest, tmp_path: Path) -> None:
    code = bytes.fromhex(
        "66 ba f4 00"  # mov dx, 0xf4
        "8b 03 ef"  # mov eax, [ebx]; out dx, eax: the magic number
        "0f 20 c0 ef"  # mov eax, cr0; out dx, eax
        "8b 43 18 8b 00 ef"  # the first dword of the command line
        "8b 43 10 8b 00 8b 00 ef"  # the first dword of the first module
        "8b 43 20 8b 00 ef"  # the first dword of the RSDP
        "f4"  # hlt
    )
    kernel = tmp_path / "kernel.elf"
    kernel.write_bytes(pvh_elf(code))
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"cpio" * 1000)
    for _ in range(2):  # the second time as after a reset
        entry = boot.load_kernel(
            guest.memory,
            str(kernel),
            cpus=1,
            mmio64=(0, 0),
            last_bus=0,
            intx_gsi=lambda device, pin: 16,
            command_line="root",
            initrd=str(initrd),
        )
        values, end = guest.run(entry)
        assert isinstance(end, Halted), end
        assert [value.to_bytes(4, "little") for value in values] == [
            0x336EC578.to_bytes(4, "little"),
            0x11.to_bytes(4, "little"),
            b"root",
            b"cpio",
            b"RSD ",
        ]


def test_a_pvh_guest_starts_with_a_usable_stack_and_interrupts_off(
    guest: Guest, tmp_path: Path
) -> None:
    code = bytes.fromhex(
        "bc 00 18 10 00"  # mov esp, 0x101800 (in the image's zeroed memory)
        "9c 58"  # pushf; pop eax
        "66 ba f4 00 ef"  # mov dx, 0xf4; out dx, eax
        "f4"
    )
    kernel = tmp_path / "kernel.elf"
    kernel.write_bytes(pvh_elf(code))
    entry = boot.load_kernel(
        guest.memory,
        str(kernel),
        cpus=1,
        mmio64=(0, 0),
        last_bus=0,
        intx_gsi=lambda device, pin: 16,
    )
    values, end = guest.run(entry)
    assert isinstance(end, Halted), end
    assert values == [0x2]


def test_a_bzimage_starts_in_64_bit_mode(guest: Guest, tmp_path: Path) -> None:
    code = bytes.fromhex(
        "66 ba f4 00"  # mov dx, 0xf4
        "8b 86 02 02 00 00 ef"  # mov eax, [rsi + 0x202]; out dx, eax: the header's magic number
        "8b 86 28 02 00 00 8b 00 ef"  # the first dword of the command line
        "8b 86 18 02 00 00 8b 00 ef"  # the first dword of the initrd
        "48 8b 46 70 8b 00 ef"  # the first dword of the RSDP
        "b9 80 00 00 c0 0f 32 66 ba f4 00 ef"  # EFER
        "8c c8 ef"  # mov eax, cs; out dx, eax
        "b9 18 00 00 00 8e d9 8e d1 8c d8 ef"  # ds and ss loaded anew; mov eax, ds; out dx, eax
        "f4"
    )
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(bzimage(bytes(0x200) + code))
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"cpio" * 1000)
    for _ in range(2):  # the second time as after a reset
        entry = boot.load_kernel(
            guest.memory,
            str(kernel),
            cpus=1,
            mmio64=(0, 0),
            last_bus=0,
            intx_gsi=lambda device, pin: 16,
            command_line="root",
            initrd=str(initrd),
        )
        values, end = guest.run(entry)
        assert isinstance(end, Halted), end
        assert [value.to_bytes(4, "little") for value in values[:4]] == [
            b"HdrS",
            b"root",
            b"cpio",
            b"RSD ",
        ]
        assert values[4] & 0x500 == 0x500
        assert values[5:] == [0x10, 0x18]


def test_firmware_starts_at_the_reset_vector(guest: Guest, tmp_path: Path) -> None:
    image = bytearray(b"\xf4" * 0x1_0000)
    # At the reset vector: to the copy below 1 MiB, whose segment is 0xf000.
    image[0xFFF0:0xFFF5] = bytes.fromhex("ea 00 80 00 f0")  # ljmp 0xf000:0x8000
    code = bytes.fromhex(
        "ba f4 00"  # mov dx, 0xf4
        "8c c8 ef"  # mov ax, cs; out dx, ax
        "0f 20 c0 66 ef"  # mov eax, cr0; out dx, eax
        "f4"
    )
    image[0x8000 : 0x8000 + len(code)] = code
    path = tmp_path / "firmware.bin"
    path.write_bytes(image)
    for _ in range(2):
        values, end = guest.run(boot.load_firmware(guest.memory, str(path)))
        assert isinstance(end, Halted), end
        assert values[0] == 0xF000
        assert values[1] & 0x8000_0011 == 0x10, "real mode"


def test_firmware_is_read_only_to_the_guest(guest: Guest, tmp_path: Path) -> None:
    image = bytearray(b"\xf4" * 0x1000)
    image[0xFF0:0xFF3] = bytes.fromhex("e9 0d f0")  # jmp to the image's start
    code = bytes.fromhex(
        "2e c6 06 00 f8 55"  # mov byte cs:[0xf800], 0x55
        "2e a0 00 f8 ba f4 00 ee"  # mov al, cs:[0xf800]; mov dx, 0xf4; out dx, al
        "f4"
    )
    image[: len(code)] = code
    path = tmp_path / "firmware.bin"
    path.write_bytes(image)
    values, end = guest.run(boot.load_firmware(guest.memory, str(path)))
    assert isinstance(end, Halted), end
    assert values == [0xF4]
    assert guest.memory.read(layout.FIRMWARE_LIMIT - 0x1000, 0x1000) == image
