# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Memslots under a running guest: added, removed, read-only, logged when dirty."""

from __future__ import annotations

import pytest

from pyvmm.kvm import KvmCallFailed, KvmError, KvmLimitReached
from pyvmm.memory import RAM, ROM, MemoryRegion
from pyvmm.uapi import kvm as uapi
from tests.kvm.kvm_room.conftest import MMIO, Guest

pytestmark = pytest.mark.kvm

PAGE = 4096


def test_memory_added_and_removed_at_run_time(guest: Guest) -> None:
    """The guest reads the same address three times: MMIO, memory, MMIO."""
    regions: list[MemoryRegion] = []

    def change() -> None:
        if guest.port.log[-1][3] == 1:
            regions.append(guest.memory.allocate(MMIO, PAGE, RAM, "hot-plugged"))
            guest.memory.write(MMIO, b"\x22\x22\x22\x22")
        else:
            guest.memory.remove_region(regions.pop())

    guest.port.on_access = change
    guest.area.answers = [0x11111111, 0x33333333]
    guest.real_mode("""
        mov $0x500, %dx
        mov 0, %ebx
        mov $1, %al
        out %al, %dx
        mov 0, %ecx
        mov $2, %al
        out %al, %dx
        mov 0, %esi
        out %al, $0xf4
        hlt
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx, regs.rsi) == (0x11111111, 0x22222222, 0x33333333)
    assert len(guest.area.log) == 2


def test_rom_is_read_without_exits_and_writes_to_it_come_to_us(guest: Guest) -> None:
    guest.memory.allocate(MMIO, PAGE, ROM, "rom")
    guest.memory.write(MMIO, b"\x55\xaa\x08\x00")
    guest.real_mode("""
        mov 0, %ebx
        movl $0x12345678, 0
        mov 0, %ecx
        out %al, $0xf4
        hlt
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert (regs.rbx, regs.rcx) == (0x0008AA55, 0x0008AA55)
    assert guest.area.log == [("write", 0, 4, 0x12345678)]
    assert guest.memory.read(MMIO, 4) == b"\x55\xaa\x08\x00"


def test_slots_are_used_again_and_their_number_is_limited(guest: Guest) -> None:
    slots = guest.vm.memslots
    before = len(slots)
    slots.limit = before + 2
    added = [guest.memory.allocate(MMIO + i * PAGE, PAGE, RAM, f"page {i}") for i in range(2)]
    with pytest.raises(KvmLimitReached, match="memslots"):
        guest.memory.allocate(MMIO + 2 * PAGE, PAGE, RAM, "one too many")
    guest.memory.remove_region(added[0])
    guest.memory.allocate(MMIO + 2 * PAGE, PAGE, RAM, "in its place")
    assert len(slots) == slots.limit


def test_what_kvm_refuses_leaves_no_slot(guest: Guest) -> None:
    slots = guest.vm.memslots
    ram = guest.memory.regions[0]
    before = len(slots)
    overlapping = MemoryRegion(ram.gpa + PAGE, PAGE, host=ram.host, kind=RAM, name="overlapping")
    with pytest.raises(KvmCallFailed, match=r"0x1000-0x1fff: KVM_SET_USER_MEMORY_REGION: EEXIST"):
        slots.region_added(overlapping)
    crooked = MemoryRegion(MMIO + 1, PAGE, host=ram.host, kind=RAM, name="crooked")
    with pytest.raises(KvmCallFailed, match=r"EINVAL .*whole pages"):
        slots.region_added(crooked)
    assert len(slots) == before


WRITER = """
    mov $0x4000, %ax
    mov %ax, %ds
    movb $1, 0x3000
    movb $1, 0x5fff
    mov $0x5000, %ax
    mov %ax, %ds
    movb $1, 0x0000
    out %al, $0xf4
    movb $1, 0x1000
    out %al, $0xf4
    hlt
"""
FIRST_WRITES = {0x43000, 0x45000, 0x50000}


@pytest.mark.parametrize("manual", [True, False], ids=["manual protect", "automatic protect"])
def test_the_dirty_log_names_the_pages_that_the_guest_wrote(
    guest: Guest, manual: bool, ioctls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = guest.vm.memslots
    if not manual:
        check = guest.system.check_extension
        monkeypatch.setattr(
            slots,
            "_check_extension",
            lambda cap: 0 if cap == uapi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 else check(cap),
        )
    elif not guest.system.check_extension(uapi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2):
        pytest.skip("this KVM has no manual dirty-log protection: Linux 5.1 or newer has it")
    ram = guest.memory.regions[0]
    guest.real_mode(WRITER)
    slots.start_dirty_log(ram)
    assert list(slots.read_dirty_log(ram)) == []
    guest.run_until_done()
    dirty = slots.read_dirty_log(ram)
    assert set(dirty) == FIRST_WRITES
    assert len(dirty) == len(FIRST_WRITES)
    assert list(slots.read_dirty_log(ram)) == []
    guest.run_until_done()
    assert list(slots.read_dirty_log(ram)) == [0x51000]
    assert (uapi.KVM_CLEAR_DIRTY_LOG in ioctls) is manual
    slots.stop_dirty_log(ram)
    with pytest.raises(KvmError, match="has no dirty log; start it first"):
        slots.read_dirty_log(ram)


def test_starting_and_stopping_twice_is_once(guest: Guest, ioctls: list[int]) -> None:
    slots = guest.vm.memslots
    ram = guest.memory.regions[0]
    slots.start_dirty_log(ram)
    slots.start_dirty_log(ram)
    slots.stop_dirty_log(ram)
    slots.stop_dirty_log(ram)
    assert ioctls.count(uapi.KVM_SET_USER_MEMORY_REGION) == 2
