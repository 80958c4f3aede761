# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts into a running guest: lines, irqfds with and without resample, MSI, routes."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

import pytest

from pyvmm.kvm import KICKED, KvmCallFailed, System
from pyvmm.uapi import kvm as uapi
from pyvmm.uapi.ioctl import ioctl
from tests.kvm.kvm_room.conftest import CODE, LIMIT, Guest, assemble

pytestmark = pytest.mark.kvm

HANDLER = 0x2000
VECTOR = 0x25
GSI = 5

# The master PIC with line n at vector 0x20 + n, only line 5 open; then wait for interrupts.
PIC_GUEST = f"""
    xor %ax, %ax
    mov %ax, %ds
    movw ${HANDLER}, 0x94    # the real-mode vector {VECTOR:#x}
    movw $0, 0x96
    mov $0x11, %al
    out %al, $0x20
    mov $0x20, %al
    out %al, $0x21
    mov $4, %al
    out %al, $0x21
    mov $1, %al
    out %al, $0x21
    mov $0xdf, %al
    out %al, $0x21
    mov $TRIGGER, %al
    mov $0x4d0, %dx
    out %al, %dx             # ELCR: level-triggered lines
    mov $0x500, %dx
    mov $1, %al
    out %al, %dx             # ready
    sti
wait:
    hlt
    jmp wait
"""
PIC_HANDLER = """
    .code16
    mov $0x501, %dx
    mov $0x55, %al
    out %al, %dx             # here
    mov $0x20, %al
    out %al, $0x20           # EOI
    mov $0x502, %dx
    out %al, %dx             # after EOI
    iretw
"""


class EventFd:
    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def signal(self) -> None:
        os.eventfd_write(self.fd, 1)

    def wait(self) -> int:
        """The count, as soon as there is one; 0 if there is none for long."""
        ready, _, _ = select.select([self.fd], [], [], LIMIT)
        return os.eventfd_read(self.fd) if ready else 0

    def pending(self) -> bool:
        return bool(select.select([self.fd], [], [], 0)[0])


@pytest.fixture
def eventfd() -> Iterator[EventFd]:
    eventfd = EventFd()
    yield eventfd
    os.close(eventfd.fd)


@pytest.fixture
def resample() -> Iterator[EventFd]:
    eventfd = EventFd()
    yield eventfd
    os.close(eventfd.fd)


def load_pic_guest(guest: Guest, *, level: bool = False) -> None:
    guest.memory.write(HANDLER, assemble(PIC_HANDLER, HANDLER))
    guest.real_mode(PIC_GUEST.replace("TRIGGER", str(1 << GSI if level else 0)))


class Seen:
    """Waits until the guest has written to a port of the recorder."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._eventfd = EventFd()
        self._at = 0
        guest.port.on_access = self._eventfd.signal

    def offset(self) -> int:
        """The next port the guest wrote to."""
        log = self._guest.port.log
        while len(log) == self._at:
            assert self._eventfd.wait(), "the guest is silent"
        self._at += 1
        return log[self._at - 1][1]

    def close(self) -> None:
        os.close(self._eventfd.fd)


@pytest.fixture
def seen(guest: Guest) -> Iterator[Seen]:
    seen = Seen(guest)
    yield seen
    guest.stop()
    seen.close()


def test_irq_line_interrupts_the_guest(guest: Guest, seen: Seen) -> None:
    load_pic_guest(guest)
    guest.run_in_background()
    assert seen.offset() == 0
    for _ in range(3):
        guest.vm.irq_line(GSI, True)
        assert (seen.offset(), seen.offset()) == (1, 2)
        guest.vm.irq_line(GSI, False)


def test_irqfd_interrupts_the_guest(guest: Guest, seen: Seen, eventfd: EventFd) -> None:
    load_pic_guest(guest)
    guest.vm.irqfd(eventfd.fd, GSI)
    guest.run_in_background()
    assert seen.offset() == 0
    for _ in range(3):
        eventfd.signal()
        assert (seen.offset(), seen.offset()) == (1, 2)
    guest.vm.remove_irqfd(eventfd.fd, GSI)
    eventfd.signal()
    assert eventfd.pending(), "KVM still takes what the eventfd gets"


def test_resample_tells_of_the_eoi_and_lowers_the_line(
    guest: Guest, seen: Seen, eventfd: EventFd, resample: EventFd
) -> None:
    load_pic_guest(guest, level=True)
    guest.vm.irqfd(eventfd.fd, GSI, resample.fd)
    guest.run_in_background()
    assert seen.offset() == 0
    for _ in range(3):
        eventfd.signal()
        assert seen.offset() == 1
        assert resample.wait() == 1
        assert seen.offset() == 2
    # One interrupt for each signal: a line left high would have brought more.
    assert len(guest.port.log) == 1 + 3 * 2
    guest.vm.remove_irqfd(eventfd.fd, GSI)


def test_an_unknown_irqfd_is_told_by_name(guest: Guest, eventfd: EventFd) -> None:
    with pytest.raises(KvmCallFailed, match="connecting eventfd 99999 to GSI 5: KVM_IRQFD: EBADF"):
        guest.vm.irqfd(99999, GSI)
    guest.vm.irqfd(eventfd.fd, GSI)
    with pytest.raises(KvmCallFailed, match="connected already"):
        guest.vm.irqfd(eventfd.fd, GSI)


APIC_GUEST = """
    mov $0xfee00000, %rdi
    movl $0x1ff, 0xf0(%rdi)  # enable the local APIC
    mov $0x500, %dx
    out %al, %dx
    sti
wait:
    hlt
    jmp wait
"""
APIC_HANDLER = """
    .code64
    mov $PORT, %dx
    out %al, %dx
    mov $0xfee00000, %rdi
    movl $0, 0xb0(%rdi)      # EOI
    iretq
"""
MSI_ADDRESS = 0xFEE00000  # to APIC id 0


def load_apic_guest(guest: Guest, vectors: dict[int, int]) -> None:
    """A long-mode guest that writes to a port of its own for each of the vectors."""
    guest.long_mode(APIC_GUEST)
    for number, (vector, port) in enumerate(vectors.items()):
        at = HANDLER + 0x100 * number
        guest.memory.write(at, assemble(APIC_HANDLER.replace("PORT", str(port)), at))
        guest.set_gate(vector, at)


def test_irqfd_to_msi_follows_the_route(guest: Guest, seen: Seen, eventfd: EventFd) -> None:
    load_apic_guest(guest, {0x40: 0x501, 0x41: 0x502})
    routing = guest.vm.routing
    gsi = routing.allocate()
    routing.set_msi(gsi, MSI_ADDRESS, 0x40)
    routing.commit()
    guest.vm.irqfd(eventfd.fd, gsi)
    guest.run_in_background()
    assert seen.offset() == 0
    eventfd.signal()
    assert seen.offset() == 1
    routing.set_msi(gsi, MSI_ADDRESS, 0x41)
    routing.commit()
    eventfd.signal()
    assert seen.offset() == 2


def test_signal_msi(guest: Guest, seen: Seen) -> None:
    load_apic_guest(guest, {0x40: 0x501})
    guest.run_in_background()
    assert seen.offset() == 0
    assert guest.vm.signal_msi(MSI_ADDRESS, 0x40)
    assert seen.offset() == 1
    assert not guest.vm.signal_msi(MSI_ADDRESS | 7 << 12, 0x40), "there is no APIC 7"


def test_the_irqchips_routes_outlive_a_commit(guest: Guest, seen: Seen) -> None:
    load_pic_guest(guest)
    routing = guest.vm.routing
    routing.set_msi(routing.allocate(), MSI_ADDRESS, 0x40)
    routing.commit()
    guest.run_in_background()
    assert seen.offset() == 0
    guest.vm.irq_line(GSI, True)
    assert (seen.offset(), seen.offset()) == (1, 2)


def test_routes_are_committed_in_one_call(guest: Guest, ioctls: list[int]) -> None:
    routing = guest.vm.routing
    gsis = [routing.allocate() for _ in range(64)]
    assert gsis[0] == 24
    for gsi in gsis:
        routing.set_msi(gsi, MSI_ADDRESS, gsi)
    assert ioctls == []
    routing.commit()
    assert ioctls == [uapi.KVM_SET_GSI_ROUTING]
    # The same again, or there and back, is no change.
    routing.set_msi(gsis[0], MSI_ADDRESS, gsis[0])
    routing.set_msi(gsis[1], MSI_ADDRESS, 0)
    routing.set_msi(gsis[1], MSI_ADDRESS, gsis[1])
    routing.commit()
    assert ioctls == [uapi.KVM_SET_GSI_ROUTING]
    routing.free(gsis[1])
    routing.commit()
    assert ioctls == [uapi.KVM_SET_GSI_ROUTING] * 2


def test_the_whole_table_can_be_used_with_whatever_a_guest_writes(guest: Guest) -> None:
    routing = guest.vm.routing
    gsis = [routing.allocate() for _ in range(routing.capacity)]
    for gsi in gsis:
        routing.set_msi(gsi, 0xFFFFFFFF_00000000 | gsi * 0x01234567 & 0xFFFFFFFF, 0xFFFFFFFF - gsi)
    routing.commit()
    for gsi in gsis:
        routing.free(gsi)
    routing.commit()


def test_the_pit_ticks_on_gsi_0_and_port_0x61_answers(guest: Guest) -> None:
    guest.real_mode("""
        in $0x61, %al
        or $1, %al
        out %al, $0x61           # gate of channel 2
        mov $0xb0, %al
        out %al, $0x43           # channel 2, low and high byte, mode 0
        mov $16, %al
        out %al, $0x42
        xor %al, %al
        out %al, $0x42
    wait:
        in $0x61, %al
        test $0x20, %al          # output of channel 2
        jz wait
        out %al, $0xf4
        hlt
    """)
    guest.run_until_done()


def test_a_second_vcpu_starts_by_init_and_sipi(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(cpus=2)
    guest.long_mode(f"""
        mov $0xfee00000, %rdi
        movl $0x1ff, 0xf0(%rdi)
        movl $0x01000000, 0x310(%rdi)
        movl $0x4500, 0x300(%rdi)             # INIT to APIC 1
        movl $0x01000000, 0x310(%rdi)
        movl $0x46{HANDLER >> 12:02x}, 0x300(%rdi)   # SIPI
        hlt
    """)
    guest.memory.write(
        HANDLER, assemble(".code16\n mov $0x501, %dx; mov $0x77, %al; out %al, %dx; hlt", HANDLER)
    )
    second = guest.vm.vcpus[1]
    assert second.get_mp_state() == uapi.KVM_MP_STATE_UNINITIALIZED
    started = EventFd()
    guest.port.on_access = started.signal
    running = [guest.run_in_background(1), guest.run_in_background(0)]
    assert started.wait()
    assert guest.port.log == [("write", 1, 1, 0x77)]
    for vcpu in guest.vm.vcpus:
        vcpu.kick()
    assert [each.result() for each in running] == [KICKED, KICKED]
    os.close(started.fd)
    assert second.get_sregs().cs.base == HANDLER
    assert guest.vcpu.get_regs().rip > CODE


@pytest.mark.parametrize(("gsi", "pin"), [(0, 2), (1, 1), (4, 4), (15, 15), (16, 16), (23, 23)])
def test_gsis_are_wired_to_the_ioapic_as_on_a_pc(gsi: int, pin: int) -> None:
    with System() as system, system.create_vm() as vm:
        vm.create_irqchip()
        vm.irq_line(gsi, True)
        chip = uapi.kvm_irqchip(chip_id=uapi.KVM_IRQCHIP_IOAPIC)
        ioctl(vm.fd, uapi.KVM_GET_IRQCHIP, chip)
        assert chip.chip.ioapic.irr == 1 << pin
