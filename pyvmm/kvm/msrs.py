# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Model-specific registers of a vCPU, where KVM may know some and refuse others.

KVM_GET_MSR_INDEX_LIST tells not even of all that KVM has (the MTRRs are not on it), so KVM is
asked by trying: it stops at the first register it refuses, which is stepped over.

Source: the kernel's Documentation/virt/kvm/api.rst, KVM_GET_MSRS and KVM_SET_MSRS.
"""

from __future__ import annotations

from ..uapi import kvm as uapi
from .errors import call
from .flexible import flexible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IA32_MISC_ENABLE = 0x1A0
IA32_MTRR_DEF_TYPE = 0x2FF

# Banks of machine checks, in KVM: KVM_MAX_MCE_BANKS, four registers each.
_MC0_CTL, _MC_BANKS = 0x400, 32

UNLISTED = (
    *range(0x200, 0x210),  # MTRRs: of variable ranges, then of fixed ones
    *(0x250, 0x258, 0x259, *range(0x268, 0x270)),
    IA32_MTRR_DEF_TYPE,
    *range(_MC0_CTL, _MC0_CTL + 4 * _MC_BANKS),
)
"""Registers that a KVM may have and doesn't list."""

_FAST_STRINGS = 1
_MTRR_ENABLE = 1 << 11
_WRITE_BACK = 6

# What firmware would have left: memory is cached unless a page table says otherwise. KVM heeds
# the MTRRs once a device without snooping is assigned, and after reset they say "uncached".
BOOT_MSRS = {
    IA32_MISC_ENABLE: _FAST_STRINGS,
    IA32_MTRR_DEF_TYPE: _MTRR_ENABLE | _WRITE_BACK,
}


def set_msrs(vcpu_fd: int, values: Mapping[int, int]) -> tuple[int, ...]:
    """Set each register, by index; the answer is the indices that KVM refused."""
    refused: list[int] = []
    rest = list(values.items())
    while rest:
        header, entries = flexible(uapi.kvm_msrs, uapi.kvm_msr_entry, len(rest))
        header.nmsrs = len(rest)
        for entry, (index, value) in zip(entries, rest, strict=True):
            entry.index, entry.data = index, value
        done = call(vcpu_fd, uapi.KVM_SET_MSRS, header, doing="setting a vCPU's MSRs")
        refused += [index for index, _ in rest[done : done + 1]]
        rest = rest[done + 1 :]
    return tuple(refused)


def get_msrs(vcpu_fd: int, indices: Iterable[int]) -> dict[int, int]:
    """The registers' values by index, without those that KVM refuses."""
    values: dict[int, int] = {}
    rest = list(indices)
    while rest:
        header, entries = flexible(uapi.kvm_msrs, uapi.kvm_msr_entry, len(rest))
        header.nmsrs = len(rest)
        for entry, index in zip(entries, rest, strict=True):
            entry.index = index
        done = call(vcpu_fd, uapi.KVM_GET_MSRS, header, doing="reading a vCPU's MSRs")
        values.update((entry.index, entry.data) for entry in entries[:done])
        rest = rest[done + 1 :]
    return values
