# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a guest that goes wrong leaves: an exit that says so, with registers and code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvmm.kvm import Exit, Halted, HandlerFailed, InternalError, KvmCallFailed, RunFailed, Shutdown
from pyvmm.uapi import kvm as uapi
from tests.kvm.kvm_room.conftest import CODE, MMIO, Guest

pytestmark = pytest.mark.kvm


def report(guest: Guest, exit: Exit) -> str:
    return exit.report(guest.memory.read)


def test_triple_fault(guest: Guest) -> None:
    guest.long_mode("""
        mov $0x1234567890, %rbx
        ud2
    """)
    sregs = guest.vcpu.get_sregs()
    sregs.idt.limit = 0
    guest.vcpu.set_sregs(sregs)
    exit = guest.run()
    assert isinstance(exit, Shutdown)
    assert exit.is_crash
    text = report(guest, exit)
    assert text.startswith("vCPU 0 met a triple fault")
    assert "RIP" in text
    assert "code at RIP" in text


def test_emulation_failure_shows_the_instruction(guest: Guest) -> None:
    """An access to MMIO by an instruction that KVM's emulator hasn't got: ADDPS."""
    guest.real_mode("""
        mov $0x1234, %bx
        nop
        addps 0x10, %xmm0
        hlt
    """)
    sregs = guest.vcpu.get_sregs()
    sregs.cr4 |= 1 << 9
    guest.vcpu.set_sregs(sregs)
    exit = guest.run()
    assert isinstance(exit, InternalError)
    assert exit.suberror == uapi.KVM_INTERNAL_ERROR_EMULATION
    text = report(guest, exit)
    assert "could not emulate an instruction" in text
    assert "real mode, RIP 0000:0000000000001004" in text
    assert "RBX 0000000000001234" in text
    # mov and nop before RIP, then addps.
    assert "code at RIP, guest-physical 0x1004: bb 34 12 90 <0f> 58 06 10 00 f4" in text.replace(
        "00 " * 12, ""
    )
    if exit.instruction:
        assert exit.instruction.startswith(bytes.fromhex("0f58061000"))
        assert f"instruction as KVM fetched it: {exit.instruction.hex(' ')}" in text


def test_execution_where_there_is_no_memory(guest: Guest) -> None:
    guest.real_mode(f"ljmp ${MMIO >> 4}, $0")
    exit = guest.run()
    assert isinstance(exit, InternalError)
    assert f"code at RIP: guest-physical {MMIO:#x} is not guest memory" in report(guest, exit)


def test_execution_where_no_page_is_mapped(guest: Guest) -> None:
    """A page fault with no IDT to go to; the report can't show code, and says why."""
    guest.long_mode("movabs $0x4000000000, %rax; jmp *%rax")
    sregs = guest.vcpu.get_sregs()
    sregs.idt.limit = 0
    guest.vcpu.set_sregs(sregs)
    exit = guest.run()
    assert isinstance(exit, Shutdown)
    regs = guest.vcpu.get_regs()
    regs.rip = 0x4000000000
    guest.vcpu.set_regs(regs)
    assert "no page is mapped at linear address 0x4000000000" in report(guest, exit)


def test_a_report_shows_code_across_a_page(guest: Guest) -> None:
    guest.real_mode("hlt")
    guest.memory.write(0x2FFE, b"\xde\xad\xbe\xef")
    exit = Halted(guest.vcpu)
    regs = guest.vcpu.get_regs()
    regs.rip = 0x2FFE
    guest.vcpu.set_regs(regs)
    assert (
        "guest-physical 0x2ffe: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 <de> ad be ef"
        in (report(guest, exit))
    )


def test_halt_without_irqchip(make_guest: Callable[..., Guest]) -> None:
    guest = make_guest(irqchip=False)
    guest.real_mode("hlt")
    exit = guest.run()
    assert isinstance(exit, Halted)
    assert not exit.is_crash
    assert str(exit) == "vCPU 0 has executed HLT"


def test_a_handlers_exception_ends_the_run_and_is_carried(guest: Guest) -> None:
    def fail() -> None:
        raise OSError(5, "a bug of ours")

    guest.port.on_access = fail
    guest.real_mode("nop; mov $0x502, %dx; out %ax, %dx; hlt")
    exit = guest.run()
    assert isinstance(exit, HandlerFailed)
    assert isinstance(exit.error, OSError)
    text = report(guest, exit)
    assert "the 2-byte write to port 0x502 of vCPU 0 raised OSError" in text
    assert "in fail" in text, "the traceback"
    assert "RDX 0000000000000502" in text


def test_kvm_run_itself_fails(guest: Guest) -> None:
    """Asked for register sets that don't exist."""
    guest.real_mode("hlt")
    valid_regs = 288  # offset in struct kvm_run
    guest.vcpu.kvm_run[3][valid_regs // 8] = 1 << 63
    exit = guest.run()
    assert isinstance(exit, RunFailed)
    text = report(guest, exit)
    assert text.startswith("running vCPU 0: KVM_RUN: EINVAL (Invalid argument)")
    assert f"RIP 0000:{CODE:016x}" in text


def test_a_state_that_kvm_refuses(guest: Guest) -> None:
    sregs = guest.vcpu.get_sregs()
    sregs.cr4 |= 1 << 63
    with pytest.raises(KvmCallFailed, match=r"registers of vCPU 0: KVM_SET_SREGS: EINVAL .*CR4"):
        guest.vcpu.set_sregs(sregs)
