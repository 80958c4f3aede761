# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Model-specific registers of a vCPU, where KVM may know some and refuse others.

KVM_GET_MSR_INDEX_LIST tells not even of all that KVM has (the MTRRs are not on it), so KVM is
asked by trying: it stops at the first register it refuses, which is stepped over.

Source: the kernel's Documentation/virt/kvm/api.rst, KVM_GET_MSRS and KVM_SET_MSRS.
"""

from __future__ import annotations

from ..uapi import kvm as uapi
from .cpuid import VMX, is_amd, physical_bits
from .errors import call
from .flexible import flexible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..uapi.kvm import kvm_cpuid_entry2

IA32_FEAT_CTL = 0x3A
IA32_MISC_ENABLE = 0x1A0
IA32_MTRR_PHYS_BASE0 = 0x200
IA32_MTRR_PHYS_MASK0 = 0x201
IA32_MTRR_DEF_TYPE = 0x2FF
MSR_K7_HWCR = 0xC0010015

# The MTRRs of the first MiB, each for eight pieces of it: 64 KiB, 16 KiB (two), 4 KiB (eight).
_MTRR_FIX64K = 0x250
_MTRR_FIX16K = (0x258, 0x259)
_MTRR_FIX4K = range(0x268, 0x270)

# Banks of machine checks, in KVM: KVM_MAX_MCE_BANKS, four registers each.
_MC0_CTL, _MC_BANKS = 0x400, 32

UNLISTED = (
    *range(IA32_MTRR_PHYS_BASE0, IA32_MTRR_PHYS_BASE0 + 16),
    *(_MTRR_FIX64K, *_MTRR_FIX16K, *_MTRR_FIX4K),
    IA32_MTRR_DEF_TYPE,
    *range(_MC0_CTL, _MC0_CTL + 4 * _MC_BANKS),
)
"""Registers that a KVM may have and doesn't list."""

_FAST_STRINGS = 1 << 0
_FEAT_CTL_LOCKED, _FEAT_CTL_VMX = 1 << 0, 1 << 2
_MTRR_ENABLE, _MTRR_FIXED_ENABLE = 1 << 11, 1 << 10
_MTRR_VALID = 1 << 11
_UNCACHED, _WRITE_BACK = 0, 6
_ALL_WRITE_BACK = 0x0606_0606_0606_0606
_TSC_FREQ_SEL = 1 << 24

_HOLE_START, _HOLE_SIZE = 3 << 30, 1 << 30  # below 4 GiB: BARs, ECAM, interrupt controllers


def boot_msrs(leaves: Iterable[kvm_cpuid_entry2], misc_enable: int) -> dict[int, int]:
    """What firmware would have left in a vCPU of these leaves, by index.

    Memory is cached unless a page table says otherwise, but for the VGA and the PCI hole. KVM heeds
    the MTRRs once a device without snooping is assigned, and after reset they say "uncached".
    misc_enable is what IA32_MISC_ENABLE has: some of its bits are KVM's to tell.

    Sources: Intel SDM volume 3, section 12.11 (MTRRs) and volume 4; AMD's PPR for family 17h,
    HWCR, whose TscFreqSel is read-only there, and is missed by Linux.
    """
    leaves = list(leaves)
    has_vmx = any(leaf.function == 1 and leaf.ecx & VMX for leaf in leaves)
    address_mask = (1 << physical_bits(leaves)) - 1
    values = {
        IA32_MISC_ENABLE: misc_enable | _FAST_STRINGS,
        IA32_MTRR_DEF_TYPE: _MTRR_ENABLE | _MTRR_FIXED_ENABLE | _WRITE_BACK,
        IA32_MTRR_PHYS_BASE0: _HOLE_START | _UNCACHED,
        IA32_MTRR_PHYS_MASK0: address_mask & ~(_HOLE_SIZE - 1) | _MTRR_VALID,
        _MTRR_FIX64K: _ALL_WRITE_BACK,
        _MTRR_FIX16K[0]: _ALL_WRITE_BACK,
        _MTRR_FIX16K[1]: _UNCACHED,  # VGA
        **dict.fromkeys(_MTRR_FIX4K, _ALL_WRITE_BACK),
    }
    if has_vmx:
        values[IA32_FEAT_CTL] = _FEAT_CTL_LOCKED | _FEAT_CTL_VMX
    if is_amd(leaves):
        values[MSR_K7_HWCR] = _TSC_FREQ_SEL
    return values


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
