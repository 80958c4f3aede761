# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the vCPUs are like: by default, and as the config's section cpu has it."""

from __future__ import annotations

import pytest

from pyvmm.kvm import CpuFeatureMissing, KvmCallFailed, System, Vcpu
from pyvmm.machine import Machine
from pyvmm.memory import OutOfHostMemory
from pyvmm.uapi.kvm import KVM_CAP_TSC_CONTROL
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

MTRR_DEF_TYPE, MTRR_PHYS_MASK0, MISC_ENABLE = 0x2FF, 0x201, 0x1A0
CX16 = 1 << 13


def register(vcpu: Vcpu, leaf: int, name: str, subleaf: int = 0) -> int:
    found = [
        entry for entry in vcpu.get_cpuid() if (entry.function, entry.index) == (leaf, subleaf)
    ]
    return int(getattr(found[0], name)) if found else 0


def built(vm: Machine) -> list[Vcpu]:
    vm.build()
    return vm.vm.vcpus


def test_all_processors_differ_in_their_ids_alone(make: MakeMachine) -> None:
    first, *others = (
        {(leaf.function, leaf.index): leaf for leaf in vcpu.get_cpuid()}
        for vcpu in built(make("hello", cpus=3))
    )
    ids = {(0x1, 0), (0xB, 0), (0xB, 1), (0x8000001E, 0)}
    for other in others:
        assert other.keys() == first.keys()
        differ = {place for place in other if bytes(other[place]) != bytes(first[place])}
        assert differ <= ids


def test_the_registers_that_firmware_sets(make: MakeMachine) -> None:
    for vcpu in built(make("hello", cpus=2)):
        if MTRR_DEF_TYPE in vcpu.refused_msrs:
            pytest.skip("this KVM has no MTRRs")
        values = vcpu.get_msrs([MTRR_DEF_TYPE, MTRR_PHYS_MASK0, MISC_ENABLE])
        assert values[MTRR_DEF_TYPE] == 0xC06, "on, write-back"
        assert values[MTRR_PHYS_MASK0] & 0xFFFF_FFFF == 0xC000_0800
        assert values[MISC_ENABLE] & 1
        assert vcpu.refused_msrs == ()


def test_a_feature_is_taken_away(make: MakeMachine) -> None:
    (usual,) = built(make("hello"))
    if not register(usual, 1, "ecx") & CX16:
        pytest.skip("this host has no cmpxchg16b")
    vm = make("hello", cpus=2, cpu={"features": {"cx16": False, "hypervisor": False, "pae": True}})
    for vcpu in built(vm):
        assert not register(vcpu, 1, "ecx") & CX16
        assert not register(vcpu, 1, "ecx") >> 31
    vm.start()
    vm.console.expect(r"cpus: 2\r\n", LIMIT)


def test_a_feature_that_no_host_has(make: MakeMachine) -> None:
    with pytest.raises(CpuFeatureMissing, match="can't give a guest ia64; take it out of cpu"):
        make("hello", cpu={"features": {"ia64": True}}).build()


def test_masks_have_the_last_word(make: MakeMachine) -> None:
    masks = [
        {"leaf": 1, "register": "ebx", "clear": 0xFF0000, "set": 0x070000},
        {"leaf": 0x4000_0001, "register": "eax", "clear": 0xFFFF_FFFF},
        {"leaf": 0x8000_0004, "register": "edx", "clear": 0xFFFF_FFFF, "set": 0x21},
    ]
    vm = make("hello", cpus=2, cpu={"cpuid": masks})
    for vcpu in built(vm):
        assert register(vcpu, 1, "ebx") >> 16 == vcpu.index << 8 | 7
        assert register(vcpu, 0x4000_0001, "eax") == 0
        assert register(vcpu, 0x8000_0004, "edx") == 0x21
    vm.start()
    vm.console.expect(r"cpus: 2\r\n", LIMIT)


def test_a_frequency_for_the_tsc(make: MakeMachine) -> None:
    (vcpu,) = built(make("hello"))
    khz = vcpu.get_tsc_khz()
    if not khz:
        pytest.skip("this host's TSC has no constant frequency")
    with System() as system:
        can_scale = system.check_extension(KVM_CAP_TSC_CONTROL)
    (vcpu,) = built(make("hello", cpu={"tsc_khz": khz}))
    assert vcpu.get_tsc_khz() == khz
    assert register(vcpu, 0x4000_0000, "eax") >= 0x4000_0010
    assert register(vcpu, 0x4000_0010, "eax") == khz
    slower = make("hello", cpu={"tsc_khz": khz // 2})
    if can_scale:
        assert built(slower)[0].get_tsc_khz() == khz // 2
    else:
        with pytest.raises(KvmCallFailed, match=r"processors can't scale the TSC .* cpu.tsc_khz"):
            slower.build()


def test_more_memory_than_the_processors_reach(make: MakeMachine) -> None:
    narrow = {"leaf": 0x8000_0008, "register": "eax", "clear": 0xFF, "set": 32}
    with pytest.raises(OutOfHostMemory, match=r"addresses of 32 bits: give the guest less"):
        make("hello", memory="4G", cpu={"cpuid": [narrow]}).build()
