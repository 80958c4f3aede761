# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""CPUID: what KVM supports, made into what each vCPU of a guest sees.

KVM copies much of the host's CPUID, its topology included. A guest has one package of as many
cores as it has vCPUs, one thread each, and a vCPU's index is its APIC id. With more than 255 of
them some had an id that neither KVM's IOAPIC nor an MSI without remapping can name.

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
VMX = 1 << 5  # ecx
TSC_DEADLINE_TIMER = 1 << 24  # ecx
HYPERVISOR = 1 << 31  # ecx
HTT = 1 << 28  # edx: the count of logical processors is valid
# Leaf 0x80000001, ecx
CMP_LEGACY = 1 << 1
# Leaf 0xb, ecx: what a level of the topology is made of
_LEVEL_SMT = 1
_LEVEL_CORE = 2
# Leaf 0x80000007, edx
_INVARIANT_TSC = 1 << 8

_TIMING = 0x40000010
_APIC_BUS_KHZ = 1_000_000  # of KVM's local APIC

# Leaves that are about nothing else; pyvmm makes its own.
_TOPOLOGY = (0xB, 0x1F, 0x80000026)

# What KVM has for guests, and doesn't work without more than pyvmm does for them: memory for SGX,
# a permission for AMX, SEV, hypercalls that user space has to answer. (Leaf, sub-leaf, register,
# bits.)
_WITHHELD = (
    (0x7, 0, "ebx", 1 << 2),  # SGX
    (0x7, 0, "ecx", 1 << 30),  # SGX_LC
    (0x7, 0, "edx", 1 << 22 | 1 << 24 | 1 << 25),  # AMX_BF16, AMX_TILE, AMX_INT8
    (0x7, 1, "eax", 1 << 21),  # AMX_FP16
    (0x7, 1, "edx", 1 << 8),  # AMX_COMPLEX
    (
        uapi.KVM_CPUID_FEATURES,
        0,
        "eax",
        1 << uapi.KVM_FEATURE_HC_MAP_GPA_RANGE | 1 << uapi.KVM_FEATURE_MIGRATION_CONTROL,
    ),
)
_WITHHELD_LEAVES = (0x12, 0x1D, 0x1E, 0x8000001F)  # SGX, AMX (two), memory encryption

_AMD = (b"AuthenticAMD", b"HygonGenuine")
_MAX_CORES_IN_LEAF_4 = 64


def guest_cpuid(
    supported: Iterable[kvm_cpuid_entry2], index: int, cpus: int
) -> list[kvm_cpuid_entry2]:
    """The leaves for vCPU index (from 0) of cpus, from what KVM supports."""
    leaves = [_copy(entry) for entry in supported if entry.function not in _TOPOLOGY]
    highest = next((leaf.eax for leaf in leaves if leaf.function == 0), 0)
    amd = is_amd(leaves)
    for leaf in leaves:
        if leaf.function == 1:
            _set_leaf_1(leaf, index, cpus)
        elif leaf.function == 4:
            leaf.eax = _cache(leaf.eax, cpus)
            if leaf.eax & 0x1F:
                leaf.eax = leaf.eax & 0x03FFFFFF | _cores_in_leaf_4(cpus) << 26
        elif amd:
            _set_amd_leaf(leaf, index, cpus)
    if highest >= 0xB:
        leaves += _extended_topology(index, cpus)
    return leaves


def withhold(leaves: Iterable[kvm_cpuid_entry2]) -> None:
    """Take from leaves, which KVM supports, what pyvmm can't serve."""
    by_place = {}
    for leaf in leaves:
        by_place[leaf.function, leaf.index] = leaf
        if leaf.function in _WITHHELD_LEAVES:
            leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0
    for function, index, register, bits in _WITHHELD:
        entry = by_place.get((function, index))
        if entry is not None:
            setattr(entry, register, getattr(entry, register) & ~bits)


def add_timing(leaves: list[kvm_cpuid_entry2], tsc_khz: int) -> None:
    """Tell the TSC's frequency in leaf 0x40000010, which other hypervisors and guests agree on."""
    for leaf in leaves:
        if leaf.function == uapi.KVM_CPUID_SIGNATURE:
            leaf.eax = max(leaf.eax, _TIMING)
            timing = uapi.kvm_cpuid_entry2(function=_TIMING, eax=tsc_khz, ebx=_APIC_BUS_KHZ)
            leaves.append(timing)
            return


def has_invariant_tsc(leaves: Iterable[kvm_cpuid_entry2]) -> bool:
    """Whether the TSC runs at one rate, whatever the processor does."""
    return any(leaf.function == 0x80000007 and leaf.edx & _INVARIANT_TSC for leaf in leaves)


def is_amd(leaves: Iterable[kvm_cpuid_entry2]) -> bool:
    """Whether the processor is AMD's, or of its descent."""
    return any(leaf.function == 0 and _vendor(leaf) in _AMD for leaf in leaves)


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
