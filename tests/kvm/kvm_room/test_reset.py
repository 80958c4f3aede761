# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset(): a VM that has run is as it was before, in every kind of state that KVM has."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pyvmm.kvm import KICKED, KvmCallFailed
from pyvmm.kvm.msrs import boot_msrs
from pyvmm.kvm.reset import _AFTER_MSRS, _BEFORE_MSRS, _CHIPS, _HYPER_V, _IA32_TSC, reset
from pyvmm.uapi import kvm as uapi
from pyvmm.uapi.ioctl import ioctl
from tests.kvm.kvm_room.conftest import CODE, Guest, assemble

pytestmark = pytest.mark.kvm

STAR, LSTAR = 0xC0000081, 0xC0000082
KVM_SYSTEM_TIME_NEW = 0x4B564D01
CLOCK_PAGE = 0x9000
APIC = 0xFEE00000


def state(guest: Guest) -> dict[str, object]:
    """All that KVM tells of a VM's chips and vCPUs, but for time that goes by.

    And but for what Guest has set in the first place.
    """
    found: dict[str, object] = {}
    for chip in _CHIPS:
        irqchip = uapi.kvm_irqchip(chip_id=chip)
        ioctl(guest.vm.fd, uapi.KVM_GET_IRQCHIP, irqchip)
        found[f"irqchip {chip}"] = bytes(irqchip)
    pit = uapi.kvm_pit_state2()
    ioctl(guest.vm.fd, uapi.KVM_GET_PIT2, pit)
    for channel in pit.channels:
        channel.count_load_time = 0
    found["PIT"] = bytes(pit)
    for vcpu in guest.vm.vcpus:
        for what, structure, get, _set, capability in (*_BEFORE_MSRS, *_AFTER_MSRS):
            if capability and not guest.system.check_extension(capability):
                continue
            one = structure()
            if isinstance(one, uapi.kvm_nested_state):
                one.size = 128
            ioctl(vcpu.fd, get, one)
            found[f"{what} of {vcpu}"] = bytes(one)
        indices = {*guest.system.msr_indices()} - {_IA32_TSC, *_HYPER_V}
        indices -= boot_msrs(vcpu.get_cpuid(), 0).keys()
        msrs = vcpu.get_msrs(indices)
        found[f"MSRs of {vcpu}"] = msrs
    return found


def differences(one: dict[str, object], other: dict[str, object]) -> set[str]:
    return {what for what in one if one[what] != other[what]}


def soil_chips(guest: Guest) -> None:
    for chip in _CHIPS:
        irqchip = uapi.kvm_irqchip(chip_id=chip)
        ioctl(guest.vm.fd, uapi.KVM_GET_IRQCHIP, irqchip)
        if chip == uapi.KVM_IRQCHIP_IOAPIC:
            irqchip.chip.ioapic.redirtbl[5].bits = 0x40
        else:
            irqchip.chip.pic.irq_base = 0x20
            irqchip.chip.pic.imr = 0xFB
        ioctl(guest.vm.fd, uapi.KVM_SET_IRQCHIP, irqchip)
    pit = uapi.kvm_pit_state2()
    ioctl(guest.vm.fd, uapi.KVM_GET_PIT2, pit)
    pit.channels[0].mode, pit.channels[0].count = 2, 11932
    ioctl(guest.vm.fd, uapi.KVM_SET_PIT2, pit)


def soil_vcpu(guest: Guest) -> None:
    """What the guest's program below has not done."""
    vcpu = guest.vcpu
    xsave = uapi.kvm_xsave()
    ioctl(vcpu.fd, uapi.KVM_GET_XSAVE, xsave)
    xsave.region[0] = 0x027F  # FCW
    xsave.region[128] |= 1  # XSTATE_BV: the x87's state is not the initial one
    ioctl(vcpu.fd, uapi.KVM_SET_XSAVE, xsave)
    debug = uapi.kvm_debugregs()
    ioctl(vcpu.fd, uapi.KVM_GET_DEBUGREGS, debug)
    debug.db[0] = 0x1234
    ioctl(vcpu.fd, uapi.KVM_SET_DEBUGREGS, debug)
    events = uapi.kvm_vcpu_events()
    ioctl(vcpu.fd, uapi.KVM_GET_VCPU_EVENTS, events)
    events.nmi.pending = 1
    events.flags |= uapi.KVM_VCPUEVENT_VALID_NMI_PENDING
    ioctl(vcpu.fd, uapi.KVM_SET_VCPU_EVENTS, events)


# The local APIC on, with a timer that ticks; registers of its own in STAR and LSTAR.
LONG_MODE = f"""
    mov ${APIC}, %edi
    movl $0x1ff, 0xf0(%rdi)
    movl $0x20040, 0x320(%rdi)
    movl $0x12345678, 0x380(%rdi)
    mov ${STAR}, %ecx
    mov $0x11, %eax
    mov $0x22, %edx
    wrmsr
    mov ${LSTAR}, %ecx
    wrmsr
    mov $0xf4, %dx
    out %al, %dx
"""


def test_everything_is_as_it_was(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(cpus=2)
    before = state(guest)
    guest.long_mode(LONG_MODE)
    guest.run_until_done()
    soil_chips(guest)
    soil_vcpu(guest)
    guest.vm.vcpus[1].set_mp_state(uapi.KVM_MP_STATE_RUNNABLE)
    changed = differences(before, state(guest))
    assert {f"irqchip {chip}" for chip in _CHIPS} | {"PIT"} <= changed
    for what in ("system registers", "registers", "FPU state", "debug registers", "local APIC"):
        assert f"{what} of vCPU 0" in changed
    assert {"events of vCPU 0", "MSRs of vCPU 0", "MP state of vCPU 1"} <= changed
    reset(guest.vm)
    after = state(guest)
    assert {what: (before[what], after[what]) for what in differences(before, after)} == {}


def test_kvm_writes_no_more_into_ram(guest: Guest) -> None:
    """A clock that stayed on would overwrite what the next kernel has there."""
    program = "mov $0xf4, %dx\nout %al, %dx"
    guest.real_mode(program)
    guest.vcpu.set_msrs({KVM_SYSTEM_TIME_NEW: CLOCK_PAGE | 1})
    if KVM_SYSTEM_TIME_NEW in guest.vcpu.refused_msrs:
        pytest.skip("this KVM has no paravirtual clock")
    guest.run_until_done()
    assert any(guest.memory.read(CLOCK_PAGE, 32))
    reset(guest.vm)
    guest.memory.write(CLOCK_PAGE, bytes(32))
    guest.real_mode(program)
    guest.run_until_done()
    assert not any(guest.memory.read(CLOCK_PAGE, 32))


@pytest.mark.parametrize(
    "access",
    [
        "mov $0x500, %dx\nout %al, %dx",
        "mov $0x500, %dx\nin %dx, %ax",
        "mov $3, %cx\nmov $0x500, %dx\ncs rep outsb",
        "mov %ax, 0x10",
        "mov 0x10, %ax",
    ],
)
def test_in_the_midst_of_an_access(guest: Guest, access: str) -> None:
    """The new program runs from its first byte, with nothing of the access in its registers."""
    guest.port.on_access = guest.area.on_access = guest.vcpu.kick
    guest.port.answers, guest.area.answers = [0xBEEF], [0xBEEF]
    guest.real_mode(f"{access}\nhlt")
    exit = guest.run()
    while exit is KICKED and not (guest.port.log or guest.area.log):
        exit = guest.run()
    assert exit is KICKED
    guest.port.on_access = guest.area.on_access = None
    guest.port.log.clear()
    reset(guest.vm)
    assert guest.vcpu.get_regs().rip == 0xFFF0
    guest.real_mode("mov $0x501, %dx\nout %ax, %dx\nmov $0xf4, %dx\nout %al, %dx")
    guest.run_until_done()
    assert guest.port.log == [("write", 1, 2, 0)]


def test_memory_stays_where_it_is(guest: Guest, ioctls: list[int]) -> None:
    guest.memory.write(0x9000, b"kept")
    reset(guest.vm)
    assert uapi.KVM_SET_USER_MEMORY_REGION not in ioctls
    assert guest.memory.read(0x9000, 4) == b"kept"
    guest.real_mode(
        "mov %cs:0x9000, %eax\nmov $0x500, %dx\nout %eax, %dx\nmov $0xf4, %dx\nout %al, %dx"
    )
    guest.run_until_done()
    assert guest.port.written == [int.from_bytes(b"kept", "little")]


def test_the_other_processors_wait_to_be_started(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(cpus=2)
    boot, other = guest.vm.vcpus
    guest.memory.write(CODE, assemble(".code16\n1: jmp 1b"))
    for _ in range(3):
        sregs, regs = other.get_sregs(), other.get_regs()
        sregs.cs.base = sregs.cs.selector = 0
        regs.rip = CODE
        other.set_sregs(sregs)
        other.set_regs(regs)
        other.set_mp_state(uapi.KVM_MP_STATE_RUNNABLE)
        running = guest.run_in_background(1)
        other.kick()
        assert running.result() is KICKED
        reset(guest.vm)
        assert other.get_mp_state() == uapi.KVM_MP_STATE_UNINITIALIZED
        assert boot.get_mp_state() == uapi.KVM_MP_STATE_RUNNABLE


def test_a_kind_that_kvm_refuses_is_named(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(fd: int, request: int, arg: object = 0) -> int:
        if request == uapi.KVM_SET_LAPIC:
            raise OSError(errno.EINVAL, "told to fail")
        return ioctl(fd, request, arg)  # type: ignore[arg-type]

    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", refusing)
    with pytest.raises(KvmCallFailed, match="resetting the local APIC of vCPU 0: KVM_SET_LAPIC: E"):
        reset(guest.vm)
