# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbells: writes that signal an eventfd instead of coming to us."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyvmm.kvm import KvmCallFailed
from tests.kvm.kvm_room.conftest import MMIO, Guest

pytestmark = pytest.mark.kvm


@pytest.fixture
def doorbell() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield fd
    os.close(fd)


MMIO_WRITES = """
    movl $1, 0x10
    movl $2, 0x10
    movw $2, 0x10
    movl $2, 0x14
    out %al, $0xf4
    hlt
"""
PORT_WRITES = """
    mov $0x500, %dx
    mov $1, %eax
    out %eax, %dx
    mov $2, %eax
    out %eax, %dx
    out %ax, %dx
    mov $0x504, %dx
    out %eax, %dx
    out %al, $0xf4
    hlt
"""


def test_mmio_without_datamatch(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, MMIO + 0x10, 4)
    guest.real_mode(MMIO_WRITES)
    guest.run_until_done()
    assert os.eventfd_read(doorbell) == 2
    assert guest.area.log == [("write", 0x10, 2, 2), ("write", 0x14, 4, 2)]


def test_mmio_with_datamatch(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, MMIO + 0x10, 4, datamatch=2)
    guest.real_mode(MMIO_WRITES)
    guest.run_until_done()
    assert os.eventfd_read(doorbell) == 1
    assert [entry[1:] for entry in guest.area.log] == [(0x10, 4, 1), (0x10, 2, 2), (0x14, 4, 2)]


def test_mmio_of_any_size(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, MMIO + 0x10, 0)
    guest.real_mode(MMIO_WRITES)
    guest.run_until_done()
    assert os.eventfd_read(doorbell) == 3
    assert guest.area.log == [("write", 0x14, 4, 2)]


def test_port_without_datamatch(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, 0x500, 4, pio=True)
    guest.real_mode(PORT_WRITES)
    guest.run_until_done()
    assert os.eventfd_read(doorbell) == 2
    assert guest.port.log == [("write", 0, 2, 2), ("write", 4, 4, 2)]


def test_port_with_datamatch_zero_is_a_match_for_zero(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, 0x500, 4, pio=True, datamatch=0)
    guest.real_mode(f"mov $0x500, %dx; xor %eax, %eax; out %eax, %dx; {PORT_WRITES}")
    guest.run_until_done()
    assert os.eventfd_read(doorbell) == 1
    assert len(guest.port.log) == 4


def test_removed_the_writes_come_to_us_again(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, MMIO + 0x10, 4, datamatch=2)
    guest.vm.remove_ioeventfd(doorbell, MMIO + 0x10, 4, datamatch=2)
    guest.real_mode(MMIO_WRITES)
    guest.run_until_done()
    assert len(guest.area.log) == 4
    with pytest.raises(BlockingIOError):
        os.eventfd_read(doorbell)


def test_what_is_wrong_is_told(guest: Guest, doorbell: int) -> None:
    guest.vm.ioeventfd(doorbell, MMIO, 4)
    with pytest.raises(KvmCallFailed, match=r"KVM_IOEVENTFD: EEXIST .*another eventfd has"):
        guest.vm.ioeventfd(doorbell, MMIO, 4)
    with pytest.raises(KvmCallFailed, match="size not 0, 1, 2, 4 or 8"):
        guest.vm.ioeventfd(doorbell, MMIO, 3)
    with pytest.raises(KvmCallFailed, match="port 0x500: KVM_IOEVENTFD: ENOENT"):
        guest.vm.remove_ioeventfd(doorbell, 0x500, 4, pio=True)
