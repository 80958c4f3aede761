# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Memslots: which slot and flags the kernel is given, and what is left after a failure."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm import KvmCallFailed, KvmError, KvmLimitReached, Memslots
from pyvmm.kvm.dirty_log import DirtyPages, bitmap_size
from pyvmm.memory import RAM, ROM, MemoryRegion
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import Ioctls

SET = uapi.KVM_SET_USER_MEMORY_REGION
LIMIT = 3


def memslots(*, manual_protect: bool = True) -> Memslots:
    capabilities = {
        uapi.KVM_CAP_NR_MEMSLOTS: LIMIT,
        uapi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: int(manual_protect),
    }
    return Memslots(-1, lambda capability: capabilities.get(capability, 0))


def region(page: int, pages: int = 1, kind: str = RAM) -> MemoryRegion:
    return MemoryRegion(
        page << 12, pages << 12, host=0x7F0000000000 + (page << 12), kind=kind, name="test"
    )


def test_a_region_is_a_slot(ioctls: Ioctls) -> None:
    slots = memslots()
    rom = region(16, 4, ROM)
    slots.region_added(region(0, 8))
    slots.region_added(rom)
    slots.region_removed(rom)
    ram_set, rom_set, rom_gone = ioctls.of(SET)
    assert (ram_set.slot, ram_set.flags) == (0, 0)
    assert (ram_set.guest_phys_addr, ram_set.memory_size) == (0, 0x8000)
    assert ram_set.userspace_addr == 0x7F0000000000
    assert (rom_set.slot, rom_set.flags) == (1, uapi.KVM_MEM_READONLY)
    assert (rom_gone.slot, rom_gone.memory_size) == (1, 0)


def test_slots_run_out_and_are_used_again(ioctls: Ioctls) -> None:
    slots = memslots()
    regions = [region(page) for page in range(LIMIT)]
    for each in regions:
        slots.region_added(each)
    with pytest.raises(KvmLimitReached, match=f"all {LIMIT} memslots"):
        slots.region_added(region(99))
    slots.region_removed(regions[1])
    slots.region_added(region(99))
    assert [set_.slot for set_ in ioctls.of(SET)] == [0, 1, 2, 1, 1]
    assert len(slots) == LIMIT


def test_a_refused_region_takes_no_slot(ioctls: Ioctls) -> None:
    slots = memslots()
    ioctls.errors[SET] = errno.EEXIST
    with pytest.raises(
        KvmCallFailed,
        match="mapping guest memory 0x5000-0x5fff: KVM_SET_USER_MEMORY_REGION: EEXIST",
    ) as failed:
        slots.region_added(region(5))
    assert (failed.value.call, failed.value.errno) == ("KVM_SET_USER_MEMORY_REGION", errno.EEXIST)
    del ioctls.errors[SET]
    slots.region_added(region(5))
    assert [set_.slot for set_ in ioctls.of(SET)] == [0, 0]


def test_logging_is_a_flag_of_the_slot_and_survives_a_failure(ioctls: Ioctls) -> None:
    slots = memslots()
    rom = region(0, 4, ROM)
    slots.region_added(rom)
    ioctls.errors[SET] = errno.ENOMEM
    with pytest.raises(KvmCallFailed, match="starting the dirty log of 0x0-0x3fff"):
        slots.start_dirty_log(rom)
    with pytest.raises(KvmError, match="start it first"):
        slots.read_dirty_log(rom)
    del ioctls.errors[SET]
    slots.start_dirty_log(rom)
    slots.stop_dirty_log(rom)
    logging = uapi.KVM_MEM_READONLY | uapi.KVM_MEM_LOG_DIRTY_PAGES
    assert [set_.flags for set_ in ioctls.of(SET)][-2:] == [logging, uapi.KVM_MEM_READONLY]
    assert {set_.memory_size for set_ in ioctls.of(SET)} == {0x4000}


@pytest.mark.parametrize("manual", [True, False])
def test_a_reading_clears_the_log_where_kvm_does_not(ioctls: Ioctls, manual: bool) -> None:
    import ctypes

    def fill(log: Any) -> int:
        ctypes.memset(log.dirty_bitmap, 0b101, 1)
        return 0

    ioctls.answers[uapi.KVM_GET_DIRTY_LOG] = fill
    slots = memslots(manual_protect=manual)
    ram = region(16, 70)
    slots.region_added(ram)
    slots.start_dirty_log(ram)
    assert list(slots.read_dirty_log(ram)) == [0x10000, 0x12000]
    assert len(ioctls.of(uapi.KVM_ENABLE_CAP)) == manual
    clears = ioctls.of(uapi.KVM_CLEAR_DIRTY_LOG)
    assert [(clear.slot, clear.first_page, clear.num_pages) for clear in clears] == (
        [(0, 0, 70)] if manual else []
    )


@given(st.sets(st.integers(0, 300)), st.integers(0, 1 << 36))
def test_dirty_pages(pages: set[int], first: int) -> None:
    bitmap = sum(1 << page for page in pages).to_bytes(bitmap_size(301), "little")
    dirty = DirtyPages(first << 12, bitmap)
    assert list(dirty) == [(first + page) << 12 for page in sorted(pages)]
    assert len(dirty) == len(pages)
