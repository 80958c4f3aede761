# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The registers as firmware leaves them: which memory is cached, and what depends on CPUID."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm.msrs import boot_msrs
from pyvmm.uapi import kvm as uapi

GIB = 1 << 30
UC, WB = 0, 6


def leaves(
    vendor: bytes = b"GenuineIntel", ecx: int = 0, bits: int = 46
) -> list[uapi.kvm_cpuid_entry2]:
    words = [int.from_bytes(vendor[at : at + 4], "little") for at in (0, 4, 8)]
    return [
        uapi.kvm_cpuid_entry2(function=0, ebx=words[0], edx=words[1], ecx=words[2]),
        uapi.kvm_cpuid_entry2(function=1, ecx=ecx),
        uapi.kvm_cpuid_entry2(function=0x80000008, eax=0x3000 | bits),
    ]


def memory_type(msrs: dict[int, int], address: int) -> int:
    """The effective type by the MTRRs (Intel SDM volume 3, section 12.11)."""
    default = msrs[0x2FF]
    assert default & 0xC00 == 0xC00, "both kinds are on"
    if address < 0x8_0000:
        register, piece = 0x250, address >> 16
    elif address < 0xC_0000:
        register, piece = 0x258 + (address - 0x8_0000 >> 17), address >> 14 & 7
    elif address < 0x10_0000:
        register, piece = 0x268 + (address - 0xC_0000 >> 15), address >> 12 & 7
    else:
        base, mask = msrs[0x200], msrs[0x201]
        if mask >> 11 & 1 and not (address ^ base) & mask & ~0xFFF:
            return base & 0xFF
        return default & 0xFF
    return msrs[register] >> 8 * piece & 0xFF


@given(
    address=st.one_of(st.integers(0, 1 << 21), st.integers(0, 8 * GIB), st.integers(0, 1 << 52)),
    bits=st.integers(36, 52),
)
def test_what_is_cached(address: int, bits: int) -> None:
    address &= (1 << bits) - 1
    uncached = 0xA_0000 <= address < 0xC_0000 or 3 * GIB <= address < 4 * GIB
    assert memory_type(boot_msrs(leaves(bits=bits), 0), address) == (UC if uncached else WB)


@pytest.mark.parametrize("bits", [36, 39, 40, 46, 52])
def test_no_bit_beyond_the_address_width_is_set(bits: int) -> None:
    msrs = boot_msrs(leaves(bits=bits), 0)
    assert msrs[0x201] >> bits == 0
    assert msrs[0x201] >> bits - 1 == 1


def test_bits_that_kvm_tells_are_kept() -> None:
    assert boot_msrs(leaves(), 0x1800)[0x1A0] == 0x1801


@pytest.mark.parametrize(("ecx", "value"), [(1 << 5, 5), (0, None)])
def test_nested_virtualisation_is_unlocked_where_there_is_any(ecx: int, value: int | None) -> None:
    assert boot_msrs(leaves(ecx=ecx), 0).get(0x3A) == value


@pytest.mark.parametrize(
    ("vendor", "value"),
    [(b"GenuineIntel", None), (b"AuthenticAMD", 1 << 24), (b"HygonGenuine", 1 << 24)],
)
def test_the_tsc_counts_with_the_frequency_of_p0(vendor: bytes, value: int | None) -> None:
    assert boot_msrs(leaves(vendor), 0).get(0xC0010015) == value
