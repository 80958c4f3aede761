# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Features by name, and masks: what is taken from CPUID's answers, and what is asked of a host."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm import CpuFeatureMissing
from pyvmm.kvm.cpu_features import FEATURES, apply_masks, choose_features
from pyvmm.uapi import kvm as uapi

ALL = 0xFFFF_FFFF
SIGNIFICANT = uapi.KVM_CPUID_FLAG_SIGNIFCANT_INDEX
Leaves = list[uapi.kvm_cpuid_entry2]


class Mask(NamedTuple):
    leaf: int
    subleaf: int | None
    register: str
    clear: int = 0
    set: int = 0


def full() -> Leaves:
    """Every leaf that a name is of, with all bits set."""
    places = {(leaf, subleaf) for bits in FEATURES.values() for leaf, subleaf, _, _ in bits}
    return [
        uapi.kvm_cpuid_entry2(function=leaf, index=subleaf, eax=ALL, ebx=ALL, ecx=ALL, edx=ALL)
        for leaf, subleaf in sorted(places)
    ]


def cleared(leaves: Leaves) -> set[tuple[int, int, str, int]]:
    """The bits that full() has, and leaves hasn't."""
    return {
        (leaf.function, leaf.index, register, bit)
        for leaf in leaves
        for register in ("eax", "ebx", "ecx", "edx")
        for bit in range(32)
        if not getattr(leaf, register) >> bit & 1
    }


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("avx2", {(7, 0, "ebx", 5)}),
        ("x2apic", {(1, 0, "ecx", 21)}),
        ("rdrand", {(1, 0, "ecx", 30)}),
        ("vmx", {(1, 0, "ecx", 5)}),
        ("svm", {(0x80000001, 0, "ecx", 2)}),
        ("nx", {(0x80000001, 0, "edx", 20)}),
        ("pdpe1gb", {(0x80000001, 0, "edx", 26)}),
        ("la57", {(7, 0, "ecx", 16)}),
        ("amx_int8", {(7, 0, "edx", 25)}),
        ("arch_capabilities", {(7, 0, "edx", 29)}),
        ("avx512vl", {(7, 0, "ebx", 31)}),
        ("lam", {(7, 1, "eax", 26)}),
        ("xsaves", {(0xD, 1, "eax", 3)}),
        ("npt", {(0x8000000A, 0, "edx", 0)}),
        ("vnmi", {(0x8000000A, 0, "edx", 25)}),
        # What AMD shows twice, Intel's and AMD's bits of one name, two names of one bit.
        ("fxsr", {(1, 0, "edx", 24), (0x80000001, 0, "edx", 24)}),
        ("sse", {(1, 0, "edx", 25)}),
        ("ibpb", {(7, 0, "edx", 26), (0x80000008, 0, "ebx", 12)}),
        ("constant_tsc", {(0x80000007, 0, "edx", 8)}),
        ("nonstop_tsc", {(0x80000007, 0, "edx", 8)}),
    ],
)
def test_what_a_name_stands_for(name: str, bits: set[tuple[int, int, str, int]]) -> None:
    leaves = full()
    choose_features(leaves, {name: False})
    assert cleared(leaves) == bits


@given(st.dictionaries(st.sampled_from(sorted(FEATURES)), st.booleans(), max_size=8))
def test_only_what_is_named_goes(wanted: dict[str, bool]) -> None:
    leaves = full()
    gone = {bit for name, is_wanted in wanted.items() if not is_wanted for bit in FEATURES[name]}
    missing = {name for name, is_wanted in wanted.items() if is_wanted}
    missing = {name for name in missing if gone.issuperset(FEATURES[name])}
    choose_features(leaves, {name: False for name, is_wanted in wanted.items() if not is_wanted})
    assert cleared(leaves) == gone
    if missing:
        with pytest.raises(CpuFeatureMissing) as raised:
            choose_features(
                leaves, {name: is_wanted for name, is_wanted in wanted.items() if is_wanted}
            )
        assert set(raised.value.features) == missing


def test_a_feature_that_the_host_lacks() -> None:
    leaves = [uapi.kvm_cpuid_entry2(function=7, ebx=1 << 3)]
    choose_features(leaves, {"bmi1": True, "avx2": False, "svm": False})
    with pytest.raises(
        CpuFeatureMissing, match=r"can't give a guest avx2, svm; take it out of cpu"
    ):
        choose_features(leaves, {"avx2": True, "svm": True, "bmi1": True})


def test_the_names_are_linuxs() -> None:
    """Of those in /proc/cpuinfo that come from CPUID's feature bits, none is unknown here."""
    flags = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")
    ).split()[2:]
    # Linux's own, and what it gathers from other leaves.
    made_up = {
        *("arch_perfmon", "rep_good", "nopl", "xtopology", "cpuid", "tsc_known_freq", "art"),
        *("tsc_reliable", "extd_apicid", "aperfmperf", "pebs", "bts", "amd_lbr_v2", "rapl"),
        *("vmmcall", "tpr_shadow", "flexpriority", "ept", "vpid", "ept_ad", "pti", "cpb", "epb"),
        *("ibrs_enhanced", "hw_pstate", "cat_l2", "cat_l3", "cdp_l2", "cdp_l3", "mba", "amd_dcm"),
        *("cqm_llc", "cqm_occup_llc", "cqm_mbm_total", "cqm_mbm_local", "split_lock_detect"),
        *("perfmon_v2", "proc_feedback", "cpuid_fault", "intel_ppin", "invpcid_single"),
        *("tdx_guest", "ring3mwait", "acc_power", "nonstop_tsc_s3", "up"),
        *("sme", "sev", "sev_es", "sev_snp", "debug_swap"),
    }
    assert len(flags) > 20
    assert [flag for flag in flags if flag not in FEATURES and flag not in made_up] == []


# -- masks ------------------------------------------------------------------------------------


def leaf(function: int, index: int = 0, **registers: int) -> uapi.kvm_cpuid_entry2:
    return uapi.kvm_cpuid_entry2(function=function, index=index, **registers)


def test_a_mask_clears_and_then_sets() -> None:
    leaves = [leaf(1, ecx=0xFF), leaf(2, ecx=0xFF)]
    apply_masks(leaves, [Mask(1, None, "ecx", clear=0x0F, set=0x101)])
    assert [entry.ecx for entry in leaves] == [0x1F1, 0xFF]
    apply_masks(leaves, [Mask(1, None, "ecx", clear=0x0F, set=0x101)])
    assert leaves[0].ecx == 0x1F1


@pytest.mark.parametrize(
    ("subleaf", "touched"), [(None, [0, 0, 0]), (1, [7, 0, 7]), (9, [7, 7, 7])]
)
def test_a_mask_of_one_subleaf_or_of_all(subleaf: int | None, touched: list[int]) -> None:
    leaves = [leaf(4, index, eax=7) for index in range(3)]
    apply_masks(leaves, [Mask(4, subleaf, "eax", clear=7)])
    assert [entry.eax for entry in leaves] == touched


@pytest.mark.parametrize(
    ("subleaf", "expected"), [(None, (0, 0)), (0, (0, SIGNIFICANT)), (3, (3, SIGNIFICANT))]
)
def test_a_leaf_is_made_to_set_bits_in(subleaf: int | None, expected: tuple[int, int]) -> None:
    leaves = [leaf(1)]
    apply_masks(leaves, [Mask(0x15, subleaf, "ebx", clear=1), Mask(0x15, subleaf, "ebx", set=5)])
    assert len(leaves) == 2
    made = leaves[1]
    assert (made.function, made.ebx, made.eax) == (0x15, 5, 0)
    assert (made.index, made.flags) == expected
