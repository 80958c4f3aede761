# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The report of a crashed guest: what happened, its registers, and the code it was at."""

from __future__ import annotations

from .errors import KvmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..uapi.kvm import kvm_regs, kvm_segment, kvm_sregs
    from .exits import Exit, GuestReader
    from .vcpu import Vcpu

_EFER_LMA = 1 << 10
_CR0_PE = 1
_PAGE_SIZE = 4096
_BYTES_BEFORE = 16
_BYTES_FROM_RIP = 16

_FLAGS = ((0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"))
_GENERAL = (
    ("rax", "rbx", "rcx", "rdx"),
    ("rsi", "rdi", "rbp", "rsp"),
    ("r8", "r9", "r10", "r11"),
    ("r12", "r13", "r14", "r15"),
)
_SEGMENTS = ("cs", "ds", "es", "ss", "fs", "gs", "tr", "ldt")


def report(exit: Exit, read: GuestReader) -> str:
    """The lines that Exit.report() gives. Never raises: what can't be had is said."""
    lines = [str(exit), *exit.details()]
    try:
        regs, sregs = exit.vcpu.get_regs(), exit.vcpu.get_sregs()
        lines += _registers(regs, sregs)
        lines += _code(exit.vcpu, regs, sregs, read)
    except KvmError as error:
        lines.append(f"no registers: {error}")
    return "\n".join(lines)


def _registers(regs: kvm_regs, sregs: kvm_sregs) -> list[str]:
    flags = " ".join(name for bit, name in _FLAGS if regs.rflags >> bit & 1)
    lines = [
        f"{_mode(sregs)}, RIP {sregs.cs.selector:04x}:{regs.rip:016x} "
        f"RFLAGS {regs.rflags:08x} [{flags}]"
    ]
    lines += [
        " ".join(f"{name.upper():3} {getattr(regs, name):016x}" for name in row) for row in _GENERAL
    ]
    lines += [_segment(name, getattr(sregs, name)) for name in _SEGMENTS]
    for name in ("gdt", "idt"):
        table = getattr(sregs, name)
        lines.append(f"{name.upper():3}      base {table.base:016x} limit {table.limit:08x}")
    lines.append(
        f"CR0 {sregs.cr0:08x} CR2 {sregs.cr2:016x} CR3 {sregs.cr3:016x} "
        f"CR4 {sregs.cr4:08x} EFER {sregs.efer:08x}"
    )
    return lines


def _mode(sregs: kvm_sregs) -> str:
    if sregs.efer & _EFER_LMA:
        return "long mode" if sregs.cs.l else "compatibility mode"
    if sregs.cr0 & _CR0_PE:
        return "32-bit protected mode" if sregs.cs.db else "16-bit protected mode"
    return "real mode"


def _segment(name: str, segment: kvm_segment) -> str:
    flags = " ".join(
        flag
        for flag, is_set in (
            ("present", segment.present and not segment.unusable),
            ("long", segment.l),
            ("32-bit", segment.db),
        )
        if is_set
    )
    return (
        f"{name.upper():3} {segment.selector:04x} base {segment.base:016x} "
        f"limit {segment.limit:08x} type {segment.type:#x} dpl {segment.dpl} {flags}"
    ).rstrip()


def _code(vcpu: Vcpu, regs: kvm_regs, sregs: kvm_sregs, read: GuestReader) -> list[str]:
    """The bytes around RIP, the one at RIP in <>."""
    # In long mode CS has no base.
    base = 0 if sregs.efer & _EFER_LMA and sregs.cs.l else sregs.cs.base
    linear = base + regs.rip & 0xFFFFFFFFFFFFFFFF
    physical = vcpu.translate(linear)
    if physical is None:
        return [f"code at RIP: no page is mapped at linear address {linear:#x}"]
    # What precedes RIP serves reading only, so it is shown where it is easily had.
    before = b""
    in_page = physical % _PAGE_SIZE
    if in_page:
        wanted = min(_BYTES_BEFORE, in_page)
        before = _try_read(read, physical - wanted, wanted)
    at = _try_read(read, physical, min(_BYTES_FROM_RIP, _PAGE_SIZE - in_page))
    if not at:
        return [f"code at RIP: guest-physical {physical:#x} is not guest memory"]
    if len(at) < _BYTES_FROM_RIP:
        following = vcpu.translate(linear + len(at) & 0xFFFFFFFFFFFFFFFF)
        if following is not None:
            at += _try_read(read, following, _BYTES_FROM_RIP - len(at))
    dump = " ".join((before.hex(" "), f"<{at[:1].hex()}>", at[1:].hex(" "))).strip()
    return [f"code at RIP, guest-physical {physical:#x}: {dump}"]


def _try_read(read: GuestReader, gpa: int, size: int) -> bytes:
    try:
        return read(gpa, size)
    except Exception:  # the reader is the caller's, and so are its errors
        return b""
