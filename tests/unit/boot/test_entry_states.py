# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The register states guests start in, as their specifications list them."""

from __future__ import annotations

from typing import cast

from pyvmm.boot.firmware import ResetVector
from pyvmm.boot.pvh import PvhEntry
from pyvmm.kvm import Vcpu
from pyvmm.uapi.kvm import kvm_segment
from tests.unit.boot.dirty_vcpu import DirtyVcpu


def fields(segment: kvm_segment) -> tuple[int, int, int, int, int, int, int]:
    return (
        segment.base,
        segment.limit,
        segment.type,
        segment.present,
        segment.db,
        segment.s,
        segment.g,
    )


def test_pvh() -> None:
    vcpu = DirtyVcpu()
    PvhEntry(0x10_0040, 0x6000, False).apply(cast(Vcpu, vcpu))
    sregs, regs = vcpu.sregs, vcpu.regs
    assert (regs.rip, regs.rbx, regs.rflags) == (0x10_0040, 0x6000, 2)
    assert sregs.cr0 & 0x8000_0001 == 1
    assert (sregs.cr3, sregs.cr4, sregs.efer) == (0, 0, 0)
    assert fields(sregs.cs) == (0, 0xFFFF_FFFF, 0xB, 1, 1, 1, 1)
    for data in (sregs.ds, sregs.es, sregs.ss):
        assert fields(data) == (0, 0xFFFF_FFFF, 0x3, 1, 1, 1, 1)
    assert fields(sregs.tr) == (0, 0x67, 0xB, 1, 0, 0, 0)
    assert sregs.ldt.unusable == 1
    assert {sregs.cs.l, sregs.cs.dpl, sregs.ss.dpl, sregs.cs.selector & 7} == {0}
    assert not any(sregs.interrupt_bitmap)
    assert sregs.apic_base == 0xA5A5_A5A5_A5A5_A5A5, "the local APIC stays where it is"


def test_reset() -> None:
    vcpu = DirtyVcpu()
    ResetVector().apply(cast(Vcpu, vcpu))
    sregs, regs = vcpu.sregs, vcpu.regs
    assert (regs.rip, regs.rflags) == (0xFFF0, 2)
    assert sregs.cs.base + regs.rip == 0xFFFF_FFF0
    assert sregs.cs.selector == 0xF000
    assert sregs.cr0 & 0x8000_0001 == 0
    assert (sregs.cr3, sregs.cr4, sregs.efer) == (0, 0, 0)
    for data in (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss):
        assert (data.base, data.limit, data.selector) == (0, 0xFFFF, 0)
    assert (sregs.idt.base, sregs.idt.limit) == (0, 0xFFFF)
