# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""CPUID leaves of a vCPU, from leaves such as Intel's and AMD's hosts have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm import add_timing, guest_cpuid, has_invariant_tsc, physical_bits, withhold
from pyvmm.uapi import kvm as uapi

Leaves = list[uapi.kvm_cpuid_entry2]


def leaf(function: int, index: int = 0, **registers: int) -> uapi.kvm_cpuid_entry2:
    return uapi.kvm_cpuid_entry2(function=function, index=index, **registers)


def vendor(name: bytes, highest: int) -> uapi.kvm_cpuid_entry2:
    words = [int.from_bytes(name[at : at + 4], "little") for at in (0, 4, 8)]
    return leaf(0, eax=highest, ebx=words[0], edx=words[1], ecx=words[2])


def intel() -> Leaves:
    return [
        vendor(b"GenuineIntel", 0x1F),
        leaf(1, eax=0x50654, ebx=0x1F200800, ecx=0x76FA3203, edx=0x1F8BFBFF),
        leaf(4, 0, eax=0x7C004121, ebx=0x01C0003F, ecx=0x3F),
        leaf(4, 3, eax=0x7C07C163, ebx=0x0280003F, ecx=0x7FFF),
        leaf(4, 4),
        leaf(0xB, 0, eax=1, ebx=2, ecx=0x100, edx=0x1F),
        leaf(0x1F, 0, eax=1, ebx=2, ecx=0x100, edx=0x1F),
        leaf(0x80000026, 0, eax=1),
        leaf(0x80000008, eax=0x302E, ecx=0),
        leaf(0x40000000, eax=0x40000001, ebx=0x4B4D564B, ecx=0x564B4D56, edx=0x4D),
    ]


def amd() -> Leaves:
    return [
        vendor(b"AuthenticAMD", 0x10),
        leaf(1, eax=0xB00F21, ebx=0x01020800, ecx=0x01202000, edx=0x078BFBFF),
        leaf(0xB, 0, edx=1),
        leaf(0x80000001, ecx=0x400391),
        leaf(0x80000008, eax=0x3030, ecx=0x7001),
        leaf(0x8000001D, 3, eax=0x4163, ebx=0x03C0003F),
        leaf(0x8000001E, eax=1, ebx=0x100, ecx=0x300),
    ]


def by_number(leaves: Leaves) -> dict[tuple[int, int], uapi.kvm_cpuid_entry2]:
    return {(entry.function, entry.index): entry for entry in leaves}


@given(st.sampled_from([intel, amd]), st.integers(1, 255), st.data())
def test_identity_and_topology(host: type[Leaves], cpus: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, cpus - 1))
    leaves = by_number(guest_cpuid(host(), index, cpus))
    one = leaves[1, 0]
    assert one.ebx >> 24 == index
    assert one.ebx & 0xFFFF == 0x0800 or one.ebx >> 8 & 0xFF == 8, "CLFLUSH's line is the host's"
    assert one.ebx >> 16 & 0xFF >= cpus
    assert one.ecx >> 31, "the hypervisor bit"
    assert one.edx >> 28 & 1 == (cpus > 1), "HTT"
    smt, core = leaves[0xB, 0], leaves[0xB, 1]
    assert (smt.eax, smt.ebx, smt.ecx, smt.edx) == (0, 1, 0x100, index)
    assert (core.ebx, core.ecx, core.edx) == (cpus, 0x201, index)
    assert 1 << core.eax >= cpus, "the package's ids differ above the shift only"
    assert index >> core.eax == 0, "there is one package"
    assert (0x1F, 0) not in leaves, "0xb serves for it"
    assert (0x80000026, 0) not in leaves


def test_the_hosts_leaves_are_left_alone() -> None:
    host = intel()
    guest_cpuid(host, 3, 4)
    assert bytes(host[1]) == bytes(intel()[1])


def test_intel_caches_are_shared_as_the_guest_has_cores() -> None:
    leaves = by_number(guest_cpuid(intel(), 0, 4))
    first, third, end = leaves[4, 0], leaves[4, 3], leaves[4, 4]
    assert (first.eax >> 14 & 0xFFF, first.eax >> 26) == (0, 3)
    assert (third.eax >> 14 & 0xFFF, third.eax >> 26) == (3, 3)
    assert (first.eax & 0x3FFF, third.eax & 0x3FFF) == (0x0121, 0x0163)
    assert end.eax == 0, "the end of the list"
    assert leaves[0x80000008, 0].ecx == 0


@pytest.mark.parametrize(("cpus", "id_bits"), [(1, 0), (2, 1), (3, 2), (8, 3)])
def test_amd_topology(cpus: int, id_bits: int) -> None:
    index = cpus - 1
    leaves = by_number(guest_cpuid(amd(), index, cpus))
    assert leaves[0x80000001, 0].ecx >> 1 & 1 == (cpus > 1), "CmpLegacy"
    size = leaves[0x80000008, 0].ecx
    assert (size & 0xFF, size >> 12 & 0xF) == (cpus - 1, id_bits)
    assert leaves[0x8000001D, 3].eax >> 14 & 0xFFF == (1 << id_bits) - 1
    ids = leaves[0x8000001E, 0]
    assert (ids.eax, ids.ebx, ids.ecx) == (index, index, 0)


def test_a_processor_without_leaf_0xb_does_not_get_one() -> None:
    leaves = by_number(guest_cpuid([vendor(b"GenuineIntel", 0xA), leaf(1)], 0, 2))
    assert set(leaves) == {(0, 0), (1, 0)}


def test_the_width_of_physical_addresses() -> None:
    assert physical_bits(intel()) == 46
    assert physical_bits([leaf(0), leaf(1)]) == 36


# -- what KVM can give, and pyvmm can't serve -------------------------------------------------

ALL = 0xFFFF_FFFF


def all_set(function: int, index: int = 0) -> uapi.kvm_cpuid_entry2:
    return leaf(function, index, eax=ALL, ebx=ALL, ecx=ALL, edx=ALL)


def test_what_takes_more_of_a_vmm_is_withheld() -> None:
    places = [(7, 0), (7, 1), (0x12, 0), (0x12, 2), (0x1D, 1), (0x1E, 0), (0x8000001F, 0), (1, 0)]
    leaves = [all_set(*place) for place in places] + [all_set(0x40000001)]
    withhold(leaves)
    left = by_number(leaves)
    for empty in (left[0x12, 0], left[0x12, 2], left[0x1D, 1], left[0x1E, 0], left[0x8000001F, 0]):
        assert (empty.eax, empty.ebx, empty.ecx, empty.edx) == (0, 0, 0, 0)
    assert left[7, 0].ebx == ALL & ~(1 << 2), "SGX"
    assert left[7, 0].ecx == ALL & ~(1 << 30), "its launch control"
    assert left[7, 0].edx == ALL & ~(0b1101 << 22), "AMX; AVX512_FP16 stays"
    assert (left[7, 1].eax, left[7, 1].edx) == (ALL & ~(1 << 21), ALL & ~(1 << 8))
    assert left[0x40000001, 0].eax == ALL & ~(0b11 << 16), "hypercalls that come out to the VMM"
    assert bytes(left[1, 0]) == bytes(all_set(1))


def test_a_host_without_them_is_left_as_it_is() -> None:
    for host in (intel, amd):
        leaves = host()
        withhold(leaves)
        assert [bytes(entry) for entry in leaves] == [bytes(entry) for entry in host()]


# -- the time-stamp counter -------------------------------------------------------------------


def test_the_frequency_of_the_tsc_is_told() -> None:
    leaves = intel()
    add_timing(leaves, 2_100_000)
    told = by_number(leaves)
    assert told[0x40000000, 0].eax == 0x40000010
    timing = told[0x40000010, 0]
    assert (timing.eax, timing.ebx, timing.ecx, timing.edx) == (2_100_000, 1_000_000, 0, 0)


def test_it_is_not_told_where_there_are_no_such_leaves() -> None:
    leaves = amd()
    add_timing(leaves, 2_100_000)
    assert len(leaves) == len(amd())


@pytest.mark.parametrize(("edx", "invariant"), [(1 << 8, True), (0xFF, False)])
def test_an_invariant_tsc(edx: int, invariant: bool) -> None:
    assert has_invariant_tsc([leaf(0x80000007, edx=edx)]) is invariant
    assert not has_invariant_tsc(intel())
