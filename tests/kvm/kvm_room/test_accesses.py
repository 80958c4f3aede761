# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Port and MMIO accesses of every size, as a guest makes them and the handlers see them."""

from __future__ import annotations

import pytest

from tests.kvm.kvm_room.conftest import MMIO, Guest

pytestmark = pytest.mark.kvm

DONE = "out %al, $0xf4; hlt"


def test_out_of_every_size(guest: Guest) -> None:
    guest.real_mode(f"""
        mov $0x12345678, %eax
        mov $0x500, %dx
        out %al, %dx
        inc %dx
        out %ax, %dx
        inc %dx
        out %eax, %dx
        {DONE}
    """)
    guest.run_until_done()
    assert guest.port.log == [
        ("write", 0, 1, 0x78),
        ("write", 1, 2, 0x5678),
        ("write", 2, 4, 0x12345678),
    ]


def test_in_of_every_size_changes_no_more_than_that_size(guest: Guest) -> None:
    guest.port.answers = [0xAA, 0xBBBB, 0xCCCCCCCC]
    guest.real_mode(f"""
        mov $0x500, %dx
        mov $0x11223344, %eax
        in %dx, %al
        mov %eax, %ebx
        mov $0x11223344, %eax
        in %dx, %ax
        mov %eax, %ecx
        in %dx, %eax
        mov %eax, %esi
        {DONE}
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx, regs.rsi) == (0x112233AA, 0x1122BBBB, 0xCCCCCCCC)
    assert [entry[:3] for entry in guest.port.log] == [
        ("read", 0, 1),
        ("read", 0, 2),
        ("read", 0, 4),
    ]


def test_a_handler_that_answers_too_much_is_cut_to_size(guest: Guest) -> None:
    guest.port.answers = [0x1FF, -1]
    guest.real_mode(f"""
        mov $0x500, %dx
        xor %eax, %eax
        in %dx, %al
        mov %eax, %ebx
        xor %eax, %eax
        in %dx, %ax
        mov %eax, %ecx
        {DONE}
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx) == (0xFF, 0xFFFF)


@pytest.mark.parametrize(("suffix", "size"), [("b", 1), ("w", 2), ("l", 4)])
def test_rep_outs(guest: Guest, suffix: str, size: int) -> None:
    data = bytes(range(0x10, 0x10 + 5 * size))
    guest.memory.write(0x3000, data)
    guest.real_mode(f"""
        xor %ax, %ax
        mov %ax, %ds
        mov $0x3000, %si
        mov $5, %cx
        mov $0x500, %dx
        cld
        rep outs{suffix}
        {DONE}
    """)
    guest.run_until_done()
    words = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
    assert guest.port.log == [("write", 0, size, word) for word in words]


@pytest.mark.parametrize(("suffix", "size"), [("b", 1), ("w", 2), ("l", 4)])
def test_rep_ins(guest: Guest, suffix: str, size: int) -> None:
    words = [0x11223344 * (i + 1) & (1 << 8 * size) - 1 for i in range(5)]
    guest.port.answers = list(words)
    guest.real_mode(f"""
        xor %ax, %ax
        mov %ax, %es
        mov $0x3000, %di
        mov $5, %cx
        mov $0x500, %dx
        cld
        rep ins{suffix}
        {DONE}
    """)
    guest.run_until_done()
    expected = b"".join(word.to_bytes(size, "little") for word in words)
    assert guest.memory.read(0x3000, len(expected) + 1) == expected + b"\0"


def test_mmio_of_every_size(guest: Guest) -> None:
    guest.area.answers = [0xA1, 0xB2B2, 0xC3C3C3C3, 0xD4D4D4D4D4D4D4D4]
    guest.long_mode(f"""
        movabs $0x1122334455667788, %rax
        mov ${MMIO}, %rdx
        mov %al, 1(%rdx)
        mov %ax, 2(%rdx)
        mov %eax, 4(%rdx)
        mov %rax, 8(%rdx)
        movzbl 0x10(%rdx), %ebx
        movzwl 0x12(%rdx), %ecx
        mov 0x14(%rdx), %esi
        mov 0x18(%rdx), %rdi
        {DONE}
    """)
    guest.run_until_done()
    assert guest.area.log == [
        ("write", 1, 1, 0x88),
        ("write", 2, 2, 0x7788),
        ("write", 4, 4, 0x55667788),
        ("write", 8, 8, 0x1122334455667788),
        ("read", 0x10, 1, 0xA1),
        ("read", 0x12, 2, 0xB2B2),
        ("read", 0x14, 4, 0xC3C3C3C3),
        ("read", 0x18, 8, 0xD4D4D4D4D4D4D4D4),
    ]
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx) == (0xA1, 0xB2B2)
    assert (regs.rsi, regs.rdi) == (0xC3C3C3C3, 0xD4D4D4D4D4D4D4D4)


def test_an_access_across_pages_comes_in_pieces_that_handlers_know(guest: Guest) -> None:
    """KVM cuts it at the page: 3 bytes, then 5."""
    guest.long_mode(f"""
        movabs $0x8877665544332211, %rax
        mov ${MMIO + 0xFFD}, %rdx
        mov %rax, (%rdx)
        mov (%rdx), %rbx
        {DONE}
    """)
    guest.area.answers = [0x2211, 0x33, 0x77665544, 0x88]
    guest.run_until_done()
    assert {size for _kind, _offset, size, _value in guest.area.log} <= {1, 2, 4, 8}
    written = bytearray(8)
    for kind, offset, size, value in guest.area.log:
        if kind == "write":
            at = offset - 0xFFD
            written[at : at + size] = value.to_bytes(size, "little")
    assert written == bytes.fromhex("1122334455667788")
    assert guest.vcpu.get_regs().rbx == 0x8877665544332211


def test_reads_of_nothing_give_all_ones_and_are_counted(guest: Guest) -> None:
    guest.mmio.remove(MMIO)
    guest.real_mode(f"""
        mov $0x700, %dx
        in %dx, %eax
        mov %eax, %ebx
        mov 0, %ecx
        mov %ecx, 0
        {DONE}
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert guest.ports.unclaimed.reads == 1
    assert (guest.mmio.unclaimed.reads, guest.mmio.unclaimed.writes) == (1, 1)


def test_a_handler_added_or_removed_at_run_time_is_used_at_once(guest: Guest) -> None:
    """The loop's look-up must not outlive a change of the map."""

    def remove() -> None:
        guest.port.on_access = None
        guest.ports.remove(Guest.PORT)

    guest.port.answers = [1, 2]
    guest.port.on_access = remove
    guest.real_mode(f"""
        mov $0x500, %dx
        in %dx, %al
        mov %al, %bl
        in %dx, %al
        mov %al, %cl
        {DONE}
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx & 0xFF, regs.rcx & 0xFF) == (1, 0xFF)
