# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A VM's set-up and end, and what else it can tell: CPUID, MSRs, counters, VFIO."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from pyvmm.kvm import KvmCallFailed, KvmMissing, System
from pyvmm.uapi import kvm as uapi
from tests.kvm.kvm_room.conftest import RAM_SIZE, Guest

pytestmark = pytest.mark.kvm


def test_close_leaves_nothing_and_may_come_twice(no_leaks: None) -> None:
    with System() as system, system.create_vm() as vm:
        vm.create_irqchip()
        vcpu = vm.create_vcpu(0)
        vcpu.stats()
        vm.stats()
        vcpu.close()
        vcpu.close()
        vm.close()
    vm.close()
    system.close()


def test_a_set_up_that_fails_half_way_leaves_nothing(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOMEM, "told to fail")

    with System() as system, system.create_vm() as vm:
        monkeypatch.setattr("pyvmm.kvm.vcpu.mmap", fail)
        with pytest.raises(KvmCallFailed, match="mapping kvm_run of vCPU 0: mmap: ENOMEM"):
            vm.create_vcpu(0)
        monkeypatch.setattr("pyvmm.kvm.vm.Memslots", fail)
        with pytest.raises(OSError, match="told to fail"):
            system.create_vm()


def test_a_vm_outlives_its_system(no_leaks: None) -> None:
    with System() as system:
        vm = system.create_vm()
    with vm:
        vm.create_irqchip()


def test_two_vcpus_of_one_index(guest: Guest) -> None:
    with pytest.raises(KvmCallFailed, match="creating vCPU 0: KVM_CREATE_VCPU: EEXIST"):
        guest.vm.create_vcpu(0)


def test_more_vcpus_than_kvm_has(guest: Guest) -> None:
    with pytest.raises(KvmCallFailed, match=r"KVM_CREATE_VCPU: EINVAL .*fewer cpus"):
        guest.vm.create_vcpu(1 << 20)


def test_something_else_at_the_path() -> None:
    with pytest.raises(KvmMissing, match="/dev/null is not KVM"):
        System("/dev/null")


def test_the_guest_sees_the_cpuid_that_was_set(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(cpus=3)
    guest.real_mode("""
        mov $1, %eax
        cpuid
        mov %ebx, %esi
        mov %ecx, %edi
        mov $0x40000000, %eax
        xor %ecx, %ecx
        cpuid
        out %al, $0xf4
        hlt
    """)
    guest.run_until_done()
    regs = guest.vcpu.get_regs()
    assert regs.rsi >> 24 == 0, "the APIC id"
    assert regs.rsi >> 16 & 0xFF == 4, "room for so many ids"
    assert regs.rdi >> 31, "the hypervisor bit"
    signature = b"".join(reg.to_bytes(4, "little") for reg in (regs.rbx, regs.rcx, regs.rdx))
    assert signature == b"KVMKVMKVM\0\0\0"
    for vcpu in guest.vm.vcpus:
        leaves = {(leaf.function, leaf.index): leaf for leaf in vcpu.get_cpuid()}
        assert leaves[1, 0].ebx >> 24 == vcpu.index
        if (0xB, 1) in leaves:
            assert leaves[0xB, 1].edx == vcpu.index
            assert leaves[0xB, 1].ebx == 3


def test_msrs_that_kvm_refuses_are_stepped_over_and_kept(guest: Guest) -> None:
    sysenter_cs, sysenter_esp, unknown = 0x174, 0x175, 0x3FFFFFFF
    refused = guest.vcpu.set_msrs({sysenter_cs: 8, unknown: 1, sysenter_esp: 0x1000})
    assert refused == (unknown,)
    assert unknown in guest.vcpu.refused_msrs
    assert guest.vcpu.get_msrs([sysenter_cs, unknown, sysenter_esp]) == {
        sysenter_cs: 8,
        sysenter_esp: 0x1000,
    }
    assert guest.vcpu.set_msrs({}) == ()


def test_translation(guest: Guest) -> None:
    guest.long_mode("hlt")
    assert guest.vcpu.translate(0x12345) == 0x12345
    assert guest.vcpu.translate(0x4000000000) is None


def test_the_mp_state_can_be_set(guest: Guest) -> None:
    guest.vcpu.set_mp_state(uapi.KVM_MP_STATE_HALTED)
    assert guest.vcpu.get_mp_state() == uapi.KVM_MP_STATE_HALTED


def exits(guest: Guest, *, plain: int, ports: int) -> int:
    """How often a guest comes out that does so many accesses to plain memory and to ports."""
    before = guest.vcpu.stats()["exits"]
    guest.real_mode(f"""
        xor %ax, %ax
        mov %ax, %ds
        mov ${plain}, %cx
    next:
        mov %cx, 0x3000
        loop next
        mov $0x500, %dx
        mov ${ports}, %cx
    again:
        out %al, %dx
        loop again
        out %al, $0xf4
        hlt
    """)
    guest.run_until_done()
    after = guest.vcpu.stats()["exits"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    return after - before


def test_exits_are_counted_and_plain_memory_makes_none(guest: Guest) -> None:
    """Others come in between, such as the host's timer, but not with each access."""
    n = 1000
    exits(guest, plain=1, ports=1)  # the guest's pages are there from now on
    base = exits(guest, plain=n, ports=1)
    assert abs(exits(guest, plain=2 * n, ports=1) - base) < n
    assert exits(guest, plain=n, ports=1 + n) - base >= n - n // 10
    assert len(guest.port.log) == 4 + n


def test_the_vms_counters(guest: Guest) -> None:
    stats = guest.vm.stats()
    assert "remote_tlb_flush" in stats
    assert all(isinstance(value, int | tuple) for value in stats.values())


def test_the_vfio_device_takes_only_vfio(guest: Guest) -> None:
    vfio = guest.vm.vfio
    assert guest.vm.vfio is vfio
    fd = os.eventfd(0)
    try:
        with pytest.raises(KvmCallFailed, match=r"KVM_SET_DEVICE_ATTR: .*no VFIO group"):
            vfio.add(fd, "group 14")
        with pytest.raises(KvmCallFailed, match="telling KVM that group 14 is gone"):
            vfio.remove(fd, "group 14")
    finally:
        os.close(fd)


def test_ram_is_one_memslot(guest: Guest) -> None:
    assert len(guest.vm.memslots) == 1
    assert guest.memory.ram_size == RAM_SIZE
