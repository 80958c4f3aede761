# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""CPUID: what KVM supports, made into what each vCPU of a guest sees.

KVM copies much of the host's CPUID, its topology included. A guest has one package of as many
cores as it has vCPUs, one thread each, and a vCPU's index is its APIC id.

Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; the kernel's
Documentation/virt/kvm/x86/cpuid.rst for the leaves from 0x40000000 on.
"""

from __future__ import annotations

from ..uapi import kvm as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..uapi.kvm import kvm_cpuid_entry2

# The kernel's KVM_MAX_CPUID_ENTRIES: it neither tells nor takes more.
MAX_CPUID_ENTRIES = 256

# Leaf 1
TSC_DEADLINE_TIMER = 1 << 24  # ecx
HYPERVISOR = 1 << 31  # ecx
HTT = 1 << 28  # edx: the count of logical processors is valid
# Leaf 0x80000001, ecx
CMP_LEGACY = 1 << 1
# Leaf 0xb, ecx: what a level of the topology is made of
_LEVEL_SMT = 1
_LEVEL_CORE = 2

_AMD = (b"AuthenticAMD", b"HygonGenuine")
_MAX_CORES_IN_LEAF_4 = 64


def guest_cpuid(
    supported: Iterable[kvm_cpuid_entry2], index: int, cpus: int
) -> list[kvm_cpuid_entry2]:
    """The leaves for vCPU index (from 0) of cpus, from what KVM supports."""
    leaves = [_copy(entry) for entry in supported if entry.function not in (0xB, 0x1F)]
    first = next((leaf for leaf in leaves if leaf.function == 0), None)
    highest = first.eax if first else 0
    is_amd = first is not None and _vendor(first) in _AMD
    for leaf in leaves:
        if leaf.function == 1:
            _set_leaf_1(leaf, index, cpus)
        elif leaf.function == 4:
            leaf.eax = _cache(leaf.eax, cpus)
            if leaf.eax & 0x1F:
                leaf.eax = leaf.eax & 0x03FFFFFF | _cores_in_leaf_4(cpus) << 26
        elif is_amd:
            _set_amd_leaf(leaf, index, cpus)
    if highest >= 0xB:
        leaves += _extended_topology(index, cpus)
    return leaves


def physical_bits(leaves: Iterable[kvm_cpuid_entry2]) -> int:
    """How wide a guest-physical address is, in bits; 36 if the processor doesn't tell."""
    return next((leaf.eax & 0xFF for leaf in leaves if leaf.function == 0x80000008), 36)


def _copy(entry: kvm_cpuid_entry2) -> kvm_cpuid_entry2:
    return uapi.kvm_cpuid_entry2.from_buffer_copy(entry)


def _vendor(leaf: kvm_cpuid_entry2) -> bytes:
    return b"".join(part.to_bytes(4, "little") for part in (leaf.ebx, leaf.edx, leaf.ecx))


def _id_bits(cpus: int) -> int:
    """How many low bits of the APIC id tell the cores of the package apart."""
    return (cpus - 1).bit_length()


def _cores_in_leaf_4(cpus: int) -> int:
    return min(1 << _id_bits(cpus), _MAX_CORES_IN_LEAF_4) - 1


def _set_leaf_1(leaf: kvm_cpuid_entry2, index: int, cpus: int) -> None:
    logical = min(1 << _id_bits(cpus), 255)
    leaf.ebx = index << 24 | logical << 16 | leaf.ebx & 0xFFFF
    leaf.ecx |= HYPERVISOR
    leaf.edx = leaf.edx | HTT if cpus > 1 else leaf.edx & ~HTT


def _cache(eax: int, cpus: int) -> int:
    """Bits 25-14, how many ids share a cache: levels 1 and 2 are a core's own."""
    level = eax >> 5 & 7
    sharing = (1 << _id_bits(cpus)) - 1 if level >= 3 else 0
    return eax & ~(0xFFF << 14) | sharing << 14


def _set_amd_leaf(leaf: kvm_cpuid_entry2, index: int, cpus: int) -> None:
    if leaf.function == 0x80000001:
        leaf.ecx = leaf.ecx | CMP_LEGACY if cpus > 1 else leaf.ecx & ~CMP_LEGACY
    elif leaf.function == 0x80000008:
        leaf.ecx = leaf.ecx & ~0xF0FF | _id_bits(cpus) << 12 | min(cpus - 1, 0xFF)
    elif leaf.function == 0x8000001D:
        leaf.eax = _cache(leaf.eax, cpus)
    elif leaf.function == 0x8000001E:
        leaf.eax, leaf.ebx, leaf.ecx = index, index & 0xFF, 0


def _extended_topology(index: int, cpus: int) -> list[kvm_cpuid_entry2]:
    """Leaf 0xb. It serves for 0x1f too, which only adds levels that this guest has not got."""
    levels = ((_LEVEL_SMT, 0, 1), (_LEVEL_CORE, _id_bits(cpus), cpus))
    return [
        uapi.kvm_cpuid_entry2(
            function=0xB,
            index=number,
            flags=uapi.KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax=shift,
            ebx=count,
            ecx=kind << 8 | number,
            edx=index,
        )
        for number, (kind, shift, count) in enumerate(levels)
    ]
