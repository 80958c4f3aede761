# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Processor features by the names that /proc/cpuinfo has for them, and taking them from guests.

Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; for the names the kernel's
arch/x86/include/asm/cpufeatures.h (6.12).
"""

from __future__ import annotations

from ..uapi import kvm as uapi
from .errors import CpuFeatureMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from ..uapi.kvm import kvm_cpuid_entry2

    Bit = tuple[int, int, str, int]
    """Leaf, sub-leaf, register and the bit's number."""

    class Mask(Protocol):
        """Bits to clear in a register of a leaf, and then bits to set.

        subleaf None stands for all that the leaf has.
        """

        @property
        def leaf(self) -> int: ...

        @property
        def subleaf(self) -> int | None: ...

        @property
        def register(self) -> str: ...

        @property
        def clear(self) -> int: ...

        @property
        def set(self) -> int: ...


# By leaf, sub-leaf and register: the names of the bits from 0 up, "-" for those without one.
_NAMES = {
    (0x1, 0, "ecx"): """
        pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm
        - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c
        rdrand hypervisor
    """,
    (0x1, 0, "edx"): """
        fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov
        pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe
    """,
    (0x6, 0, "eax"): """
        dtherm ida arat - pln - pts hwp hwp_notify hwp_act_window hwp_epp hwp_pkg_req - - - -
        - - - hfi
    """,
    (0x7, 0, "ebx"): """
        fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a
        avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er
        avx512cd sha_ni avx512bw avx512vl
    """,
    (0x7, 0, "ecx"): """
        - avx512vbmi umip pku ospke waitpkg avx512_vbmi2 user_shstk gfni vaes vpclmulqdq
        avx512_vnni avx512_bitalg tme avx512_vpopcntdq -
        la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc
    """,
    (0x7, 0, "edx"): """
        - - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize -
        tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 - - flush_l1d
        arch_capabilities
    """,
    (0x7, 1, "eax"): """
        - - - - avx_vnni avx512_bf16 - - - - - - - - - -
        - fred - - - - - - - - lam
    """,
    (0xD, 1, "eax"): "xsaveopt xsavec xgetbv1 xsaves",
    (0x80000001, 0, "ecx"): """
        lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop
        skinit wdt - lwp
        fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx
    """,
    (0x80000001, 0, "edx"): """
        - - - - - - - - - - - syscall - - - -
        - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow
    """,
    (0x80000007, 0, "ebx"): "overflow_recov succor - smca",
    (0x80000008, 0, "ebx"): """
        clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - - - - -
        - - - - - - - amd_ppin - virt_ssbd - cppc - - - brs
    """,
    (0x8000000A, 0, "edx"): """
        npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists - - pausefilter
        - pfthreshold avic - v_vmsave_vmload
        vgif - x2avic - v_spec_ctrl - - - - vnmi
    """,
}

# Those of one name that several bits stand for, Intel's and AMD's.
_SEVERAL: dict[str, tuple[Bit, ...]] = {
    "ibrs": ((0x7, 0, "edx", 26), (0x80000008, 0, "ebx", 14)),
    "ibpb": ((0x7, 0, "edx", 26), (0x80000008, 0, "ebx", 12)),
    "stibp": ((0x7, 0, "edx", 27), (0x80000008, 0, "ebx", 15)),
    "ssbd": ((0x7, 0, "edx", 31), (0x80000008, 0, "ebx", 24)),
    "constant_tsc": ((0x80000007, 0, "edx", 8),),
    "nonstop_tsc": ((0x80000007, 0, "edx", 8),),
}

# AMD's processors show these bits of leaf 1, edx, in leaf 0x80000001, edx, too.
_REPEATED = 0x0183_F3FF


def _features() -> dict[str, tuple[Bit, ...]]:
    features = dict(_SEVERAL)
    for (leaf, subleaf, register), names in _NAMES.items():
        for number, name in enumerate(names.split()):
            if name != "-":
                features[name] = ((leaf, subleaf, register, number),)
                if (leaf, register) == (1, "edx") and _REPEATED >> number & 1:
                    features[name] += ((0x80000001, 0, "edx", number),)
    return features


FEATURES = _features()
"""The bits behind each name."""


def choose_features(leaves: Iterable[kvm_cpuid_entry2], wanted: Mapping[str, bool]) -> None:
    """Take the features that are False out of leaves, and see that those that are True are there.

    The names are of FEATURES. Raises CpuFeatureMissing.
    """
    by_place = {(leaf.function, leaf.index): leaf for leaf in leaves}
    missing = []
    for name, is_wanted in wanted.items():
        bits = [
            (by_place[leaf, subleaf], register, 1 << number)
            for leaf, subleaf, register, number in FEATURES[name]
            if (leaf, subleaf) in by_place
        ]
        if not is_wanted:
            for entry, register, bit in bits:
                setattr(entry, register, getattr(entry, register) & ~bit)
        elif not any(getattr(entry, register) & bit for entry, register, bit in bits):
            missing.append(name)
    if missing:
        raise CpuFeatureMissing(*missing)


def apply_masks(leaves: list[kvm_cpuid_entry2], masks: Iterable[Mask]) -> None:
    """Clear and set bits in leaves. A leaf that isn't there is added, if there are bits to set."""
    for mask in masks:
        found = [
            leaf
            for leaf in leaves
            if leaf.function == mask.leaf and mask.subleaf in (None, leaf.index)
        ]
        if not found and mask.set:
            found = [uapi.kvm_cpuid_entry2(function=mask.leaf, index=mask.subleaf or 0)]
            if mask.subleaf is not None:
                found[0].flags = uapi.KVM_CPUID_FLAG_SIGNIFCANT_INDEX
            leaves += found
        for leaf in found:
            value = getattr(leaf, mask.register) & ~mask.clear | mask.set
            setattr(leaf, mask.register, value)
