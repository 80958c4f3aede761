# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""An assigned device's interrupts, into a running guest: what the unit tests take KVM to do."""

from __future__ import annotations

import pytest

from tests.kvm.kvm_room.conftest import LIMIT
from tests.kvm.pci.conftest import BAR0, COMMAND, MASTER, MEMORY, MSIX_AT, Machine
from tests.unit.pci.fake_device import FakeDevice

pytestmark = pytest.mark.kvm

VECTORS = {0x40: 0x501, 0x41: 0x502}
ENABLE, MASKALL = 0x8000, 0x4000


@pytest.fixture
def msix(machine: Machine) -> Machine:
    """MSI-X is on, and vectors 0 and 1 go to the guest's vectors 0x40 and 0x41."""
    machine.config_write(COMMAND, 2, MEMORY | MASTER)
    machine.config_write(MSIX_AT + 2, 2, ENABLE)
    machine.entry(0, 0x40)
    machine.entry(1, 0x41)
    machine.wait_for_interrupts(VECTORS)
    return machine


def test_msix_reaches_the_guest(msix: Machine) -> None:
    for _ in range(3):
        msix.device.signal(1)
        assert msix.heard() == 0x502
        msix.device.signal(0)
        assert msix.heard() == 0x501
    assert msix.quiet


def test_what_is_pending_is_delivered_by_unmasking_and_only_once(msix: Machine) -> None:
    msix.mask(0, True)
    msix.device.signal(0)
    msix.device.signal(0)
    assert msix.pba() == 1
    msix.device.signal(1)
    assert msix.heard() == 0x502
    assert msix.quiet
    msix.mask(0, False)
    assert msix.heard() == 0x501
    assert msix.pba() == 0
    # KVM has left the event in the eventfd; it must neither be seen as pending nor come again.
    msix.mask(0, True)
    assert msix.pba() == 0
    msix.mask(0, False)
    msix.device.signal(1)
    assert msix.heard() == 0x502
    assert msix.quiet


def test_the_function_mask_keeps_all_of_them(msix: Machine) -> None:
    msix.config_write(MSIX_AT + 2, 2, ENABLE | MASKALL)
    msix.device.signal(0)
    msix.device.signal(1)
    assert msix.pba() == 3
    assert msix.quiet
    msix.config_write(MSIX_AT + 2, 2, ENABLE)
    assert {msix.heard(), msix.heard()} == {0x501, 0x502}


def test_a_vector_moves_while_it_is_unmasked(msix: Machine) -> None:
    msix.store(BAR0 + 0x1808, 4, 0x41)
    msix.device.signal(0)
    assert msix.heard() == 0x502


def test_what_is_no_message_harms_no_other_vector(msix: Machine) -> None:
    msix.store(BAR0 + 0x1800, 8, 0xFFFFFFFF_FEE00000)
    msix.device.signal(0)
    msix.entry(2, 0x41)
    msix.device.signal(2)
    assert msix.heard() == 0x502
    assert msix.pba() == 1


def test_disabling_drains(msix: Machine) -> None:
    msix.mask(0, True)
    msix.device.signal(0)
    msix.config_write(MSIX_AT + 2, 2, 0)
    msix.config_write(MSIX_AT + 2, 2, ENABLE)
    msix.mask(0, False)
    msix.device.signal(1)
    assert msix.heard() == 0x502
    assert msix.quiet


GSI = 19  # INTA of device 3
CONNECT_IOAPIC = f"""
    mov $0xfec00000, %rdi
    movl ${0x10 + 2 * GSI:#x}, (%rdi)
    movl $0x8040, 0x10(%rdi)         # level-triggered, active high, vector 0x40
    movl ${0x11 + 2 * GSI:#x}, (%rdi)
    movl $0, 0x10(%rdi)
"""


def test_intx_is_a_level(machine: Machine) -> None:
    machine.wait_for_interrupts(VECTORS, CONNECT_IOAPIC)
    device = machine.device
    unmask = device.unmask_fd
    assert unmask is not None
    device.set_line(True)
    for _ in range(3):
        assert machine.heard() == 0x501
        assert unmask.wait(LIMIT), "no EOI came through"
        device.run()
    assert machine.heard() == 0x501
    device.set_line(False)
    assert unmask.wait(LIMIT)
    device.run()
    assert machine.quiet
    device.set_line(True)
    assert machine.heard() == 0x501


class TestWithoutUnmaskEventfd:
    @pytest.fixture
    def device(self) -> FakeDevice:
        device = FakeDevice(intx=1, msix=16)
        device.takes_unmask_fd = False
        return device

    def test_a_thread_unmasks(self, machine: Machine) -> None:
        machine.wait_for_interrupts(VECTORS, CONNECT_IOAPIC)
        machine.device.set_line(True)
        for _ in range(5):
            assert machine.heard() == 0x501
        machine.device.set_line(False)


def test_switching_while_the_line_is_up(machine: Machine) -> None:
    machine.wait_for_interrupts(VECTORS, CONNECT_IOAPIC)
    device = machine.device
    device.set_line(True)
    assert machine.heard() == 0x501
    machine.config_write(COMMAND, 2, MEMORY)
    for _ in range(3):
        machine.config_write(MSIX_AT + 2, 2, ENABLE)
        machine.entry(0, 0x41)
        device.signal(0)
        # The line may have been asserted once more, if the guest's EOI was quick.
        while machine.heard() != 0x502:
            pass
        machine.config_write(MSIX_AT + 2, 2, 0)
        assert machine.heard() == 0x501, "the line is still up"
