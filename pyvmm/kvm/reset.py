# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset(): a VM's interrupt controllers, timer and vCPUs as they were when they were created.

How that was, KVM itself is asked: for the moment there is a second VM with the same vCPUs, and each
kind of state is copied from there. So nothing is left of what a guest has set up, whatever this
KVM knows of: the paravirtual clocks that it would go on writing into guest RAM, pending interrupts,
armed timers, a nested guest. The VM itself stays, and so do its memslots, irqfds and GSI routes.

Source: the kernel's Documentation/virt/kvm/api.rst, the KVM_GET_... and KVM_SET_... of each kind.
"""

from __future__ import annotations

from ctypes import Structure, sizeof

from ..uapi import kvm as uapi
from . import msrs
from .errors import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .vcpu import Vcpu
    from .vm import Vm

    # What it is called, its structure, the ioctls that get and set it, the capability or 0.
    Kind = tuple[str, type[Structure], int, int, int]

_IA32_TSC = 0x10
# Our guests have KVM's CPUID leaves and not Hyper-V's, without which these are none of theirs; and
# KVM sets up what is behind them as soon as one is asked for.
_HYPER_V = range(0x4000_0000, 0x4000_1000)

_CHIPS = (uapi.KVM_IRQCHIP_PIC_MASTER, uapi.KVM_IRQCHIP_PIC_SLAVE, uapi.KVM_IRQCHIP_IOAPIC)

# A processor in a nested guest or in SMM has to leave it before the rest means anything.
_BEFORE_MSRS: tuple[Kind, ...] = (
    (
        "nested state",
        uapi.kvm_nested_state,
        uapi.KVM_GET_NESTED_STATE,
        uapi.KVM_SET_NESTED_STATE,
        uapi.KVM_CAP_NESTED_STATE,
    ),
    ("events", uapi.kvm_vcpu_events, uapi.KVM_GET_VCPU_EVENTS, uapi.KVM_SET_VCPU_EVENTS, 0),
    ("system registers", uapi.kvm_sregs, uapi.KVM_GET_SREGS, uapi.KVM_SET_SREGS, 0),
    ("registers", uapi.kvm_regs, uapi.KVM_GET_REGS, uapi.KVM_SET_REGS, 0),
    ("FPU state", uapi.kvm_xsave, uapi.KVM_GET_XSAVE, uapi.KVM_SET_XSAVE, 0),
    ("XCR0", uapi.kvm_xcrs, uapi.KVM_GET_XCRS, uapi.KVM_SET_XCRS, uapi.KVM_CAP_XCRS),
    ("debug registers", uapi.kvm_debugregs, uapi.KVM_GET_DEBUGREGS, uapi.KVM_SET_DEBUGREGS, 0),
)
# Its registers mean what the APIC base says, which is a system register.
_AFTER_MSRS: tuple[Kind, ...] = (
    ("local APIC", uapi.kvm_lapic_state, uapi.KVM_GET_LAPIC, uapi.KVM_SET_LAPIC, 0),
    ("MP state", uapi.kvm_mp_state, uapi.KVM_GET_MP_STATE, uapi.KVM_SET_MP_STATE, 0),
)


def reset(vm: Vm) -> None:
    """Reset the irqchip, the PIT and all vCPUs of a VM that has them. No vCPU may be running.

    Each of them must have come out of the guest by a kick: an access that was not ended by another
    KVM_RUN would be, in the midst of the new state. Raises KvmCallFailed.
    """
    indices = [index for index in vm.system.msr_indices() if index not in _HYPER_V]
    indices += msrs.UNLISTED
    with vm.system.create_vm() as fresh:
        fresh.create_irqchip()
        fresh.create_pit()
        _copy_chips(fresh, vm)
        for vcpu in vm.vcpus:
            new = fresh.create_vcpu(vcpu.index)
            new.set_cpuid(vcpu.get_cpuid())
            _copy_kinds(_BEFORE_MSRS, new, vcpu, vm)
            _copy_msrs(new, vcpu, indices)
            _copy_kinds(_AFTER_MSRS, new, vcpu, vm)


def _copy_chips(fresh: Vm, vm: Vm) -> None:
    for chip in _CHIPS:
        state = uapi.kvm_irqchip(chip_id=chip)
        call(fresh.fd, uapi.KVM_GET_IRQCHIP, state, doing=f"reading a fresh irqchip {chip}")
        call(vm.fd, uapi.KVM_SET_IRQCHIP, state, doing=f"resetting irqchip {chip}")
    timer = uapi.kvm_pit_state2()
    call(fresh.fd, uapi.KVM_GET_PIT2, timer, doing="reading a fresh PIT")
    call(vm.fd, uapi.KVM_SET_PIT2, timer, doing="resetting the PIT")


def _copy_kinds(kinds: tuple[Kind, ...], new: Vcpu, vcpu: Vcpu, vm: Vm) -> None:
    for what, structure, get, set, capability in kinds:
        if capability and not vm.system.check_extension(capability):
            continue
        state = structure()
        if isinstance(state, uapi.kvm_nested_state):
            state.size = sizeof(state)
        call(new.fd, get, state, doing=f"reading the {what} of a fresh {new}")
        call(vcpu.fd, set, state, doing=f"resetting the {what} of {vcpu}")


def _copy_msrs(new: Vcpu, vcpu: Vcpu, indices: list[int]) -> None:
    """Set those that differ; what KVM refuses it keeps, as it would from a guest."""
    wanted = new.get_msrs(indices)
    found = vcpu.get_msrs(wanted)
    # One that counts. KVM takes zeroes that come within a second for all to be in step.
    wanted[_IA32_TSC] = 0
    msrs.set_msrs(
        vcpu.fd, {index: value for index, value in wanted.items() if found.get(index) != value}
    )
