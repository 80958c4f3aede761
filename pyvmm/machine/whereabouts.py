# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where a guest is that does not end: one line for each vCPU, for whoever waited for it."""

from __future__ import annotations

from pyvmm.kvm import KvmError
from pyvmm.uapi.kvm import (
    KVM_MP_STATE_HALTED,
    KVM_MP_STATE_INIT_RECEIVED,
    KVM_MP_STATE_UNINITIALIZED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pyvmm.kvm import Vcpu

_INTERRUPTS = 1 << 9  # RFLAGS.IF

_BUSY = "waits for what answers an access of its: a device, or whoever takes the output"


def whereabouts(vcpus: Iterable[Vcpu], busy: Collection[str] = ()) -> str:
    """What each vCPU was doing; none of them may be running but those named as busy."""
    return "\n".join(f"{vcpu} {_BUSY if str(vcpu) in busy else _doing(vcpu)}" for vcpu in vcpus)


def _doing(vcpu: Vcpu) -> str:
    try:
        state = vcpu.get_mp_state()
        regs = vcpu.get_regs()
    except KvmError as error:
        return f"can't be asked: {error}"
    if state in (KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED):
        return "has never been started"
    interrupts = "enabled" if regs.rflags & _INTERRUPTS else "disabled"
    doing = "is halted" if state == KVM_MP_STATE_HALTED else "runs"
    return f"{doing} at RIP {regs.rip:#x}, interrupts {interrupts}"
