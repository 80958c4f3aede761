# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Exits: why a vCPU came out of the run loop, as values that can say what they mean.

Source: the kernel's Documentation/virt/kvm/api.rst, "The kvm_run structure".
"""

from __future__ import annotations

from errno import EFAULT

from ..uapi import kvm as uapi
from .errors import KvmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..uapi.kvm import kvm_run
    from .vcpu import Vcpu

    GuestReader = Callable[[int, int], bytes]

EHWPOISON = 133  # not in Python's errno

# Where kvm_run's union begins, which tells of the exit; in 64-bit words.
_UNION_U64 = 32 // 8


class Exit:
    """The end of a run. str() says in one line what it means.

    is_crash: the guest can't go on, and report() is worth showing.
    """

    __slots__ = ("vcpu",)

    is_crash = True

    def __init__(self, vcpu: Vcpu) -> None:
        self.vcpu = vcpu

    def report(self, read: GuestReader) -> str:
        """What happened, the registers, and the code at RIP; several lines.

        read gives bytes of guest memory by guest-physical address and size, and may raise. To be
        called before the vCPU runs again.
        """
        from .report import report

        return report(self, read)

    def details(self) -> list[str]:
        """Lines of the report that only this kind of exit has."""
        return []


class Kicked(Exit):
    """A kick: nothing about the guest, which may simply run on."""

    __slots__ = ()

    is_crash = False

    def __init__(self) -> None:
        pass

    def __str__(self) -> str:
        return "kicked"


KICKED = Kicked()


class Halted(Exit):
    """HLT in a VM without in-kernel irqchip."""

    __slots__ = ()

    is_crash = False

    def __str__(self) -> str:
        return f"{self.vcpu} has executed HLT"


_RESET_RIP = 0xFFF0


class Shutdown(Exit):
    """A triple fault, which on a PC resets the machine."""

    __slots__ = ()

    def __str__(self) -> str:
        return (
            f"{self.vcpu} met a triple fault: an exception, then another while delivering it, "
            "then another while delivering the double fault; most often a missing or wrong IDT, "
            "GDT, page table or stack"
        )

    def details(self) -> list[str]:
        try:
            rip = self.vcpu.get_regs().rip
        except KvmError:  # which the report says where it shows registers
            return []
        if rip != _RESET_RIP:
            return []
        return ["(an AMD host's KVM resets the processor before it tells: RIP fff0 is from that)"]


class SystemEvent(Exit):
    """The guest asked for power-off, reset or the like by a hypercall interface in the kernel."""

    __slots__ = ("data", "is_crash", "type")

    _NAMES = (
        ("a shutdown", uapi.KVM_SYSTEM_EVENT_SHUTDOWN),
        ("a reset", uapi.KVM_SYSTEM_EVENT_RESET),
        ("a crash", uapi.KVM_SYSTEM_EVENT_CRASH),
        ("a wake-up", uapi.KVM_SYSTEM_EVENT_WAKEUP),
        ("a suspend", uapi.KVM_SYSTEM_EVENT_SUSPEND),
    )

    def __init__(self, vcpu: Vcpu, type: int, data: tuple[int, ...]) -> None:
        super().__init__(vcpu)
        self.type = type
        self.data = data
        self.is_crash = type not in (uapi.KVM_SYSTEM_EVENT_SHUTDOWN, uapi.KVM_SYSTEM_EVENT_RESET)

    def __str__(self) -> str:
        name = next((name for name, number in self._NAMES if number == self.type), None)
        return f"{self.vcpu} signalled {name or f'system event {self.type}'}"


class InternalError(Exit):
    """KVM_EXIT_INTERNAL_ERROR: KVM itself does not know how to go on."""

    __slots__ = ("data", "instruction", "suberror")

    _MEANINGS = (
        (
            uapi.KVM_INTERNAL_ERROR_EMULATION,
            "KVM could not emulate an instruction: one it doesn't know, code where there is no "
            "memory, or an access that hardware would do and KVM can't",
        ),
        (
            uapi.KVM_INTERNAL_ERROR_SIMUL_EX,
            "an exception came while KVM was delivering another",
        ),
        (
            uapi.KVM_INTERNAL_ERROR_DELIVERY_EV,
            "delivering an interrupt or exception needed memory that isn't there: the IDT, a "
            "descriptor or the stack is on MMIO or on nothing",
        ),
        (
            uapi.KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
            "the processor left the guest for a reason that KVM doesn't know",
        ),
    )

    def __init__(
        self, vcpu: Vcpu, suberror: int, data: tuple[int, ...], instruction: bytes
    ) -> None:
        """instruction is what KVM fetched of the instruction, if it told; at most 15 bytes."""
        super().__init__(vcpu)
        self.suberror = suberror
        self.data = data
        self.instruction = instruction

    def __str__(self) -> str:
        meaning = next((text for number, text in self._MEANINGS if number == self.suberror), None)
        text = meaning or f"KVM internal error {self.suberror}"
        return f"{self.vcpu} is stuck: {text}"

    def details(self) -> list[str]:
        if self.instruction:
            return [f"instruction as KVM fetched it: {self.instruction.hex(' ')}"]
        return [_words(self.data)]


class EntryFailed(Exit):
    """KVM_EXIT_FAIL_ENTRY: the processor refused to enter the guest with this state."""

    __slots__ = ("cpu", "hardware_reason")

    def __init__(self, vcpu: Vcpu, hardware_reason: int, cpu: int) -> None:
        super().__init__(vcpu)
        self.hardware_reason = hardware_reason
        self.cpu = cpu

    def __str__(self) -> str:
        return (
            f"{self.vcpu} could not enter the guest: the processor (host CPU {self.cpu}) refused "
            f"its state, hardware reason {self.hardware_reason:#x}; the segment or control "
            "registers below contradict each other"
        )


class UnexpectedExit(Exit):
    """An exit that needs a feature which pyvmm doesn't turn on, or a later kernel's."""

    __slots__ = ("data", "reason")

    _NAMES = (
        "KVM_EXIT_UNKNOWN",
        "KVM_EXIT_EXCEPTION",
        "KVM_EXIT_HYPERCALL",
        "KVM_EXIT_DEBUG",
        "KVM_EXIT_IRQ_WINDOW_OPEN",
        "KVM_EXIT_SET_TPR",
        "KVM_EXIT_TPR_ACCESS",
        "KVM_EXIT_NMI",
        "KVM_EXIT_IOAPIC_EOI",
        "KVM_EXIT_HYPERV",
        "KVM_EXIT_X86_RDMSR",
        "KVM_EXIT_X86_WRMSR",
        "KVM_EXIT_DIRTY_RING_FULL",
        "KVM_EXIT_AP_RESET_HOLD",
        "KVM_EXIT_X86_BUS_LOCK",
        "KVM_EXIT_XEN",
        "KVM_EXIT_NOTIFY",
        "KVM_EXIT_MEMORY_FAULT",
        "KVM_EXIT_TDX",
        "KVM_EXIT_SNP_REQ_CERTS",
    )

    def __init__(self, vcpu: Vcpu, reason: int, data: tuple[int, ...]) -> None:
        """data is the beginning of what kvm_run tells of the exit."""
        super().__init__(vcpu)
        self.reason = reason
        self.data = data

    def __str__(self) -> str:
        name = next((name for name in self._NAMES if getattr(uapi, name) == self.reason), "")
        return (
            f"{self.vcpu} left the guest for a reason that pyvmm has no use for: "
            f"{name or 'exit reason'} ({self.reason})"
        )

    def details(self) -> list[str]:
        return [_words(self.data)]


class RunFailed(Exit):
    """KVM_RUN itself failed."""

    __slots__ = ("errno", "fault")

    def __init__(self, vcpu: Vcpu, errno: int) -> None:
        super().__init__(vcpu)
        self.errno = errno
        self.fault: tuple[int, int] | None = None
        state = _snapshot(vcpu)
        if state.exit_reason == uapi.KVM_EXIT_MEMORY_FAULT:
            self.fault = (state.memory_fault.gpa, state.memory_fault.size)

    def __str__(self) -> str:
        from ..uapi.ioctl import failure

        cure = ""
        where = "guest-physical {:#x}+{:#x}".format(*self.fault) if self.fault else "a memslot"
        if self.errno == EFAULT:
            cure = f"the host memory behind {where} is gone, or shorter than the memslot"
        elif self.errno == EHWPOISON:
            cure = f"the host's memory is broken behind {where}"
        return failure(f"running {self.vcpu}", "KVM_RUN", self.errno, cure)


class HandlerFailed(Exit):
    """A bug: the handler of a port or MMIO access raised error."""

    __slots__ = ("access", "error")

    def __init__(self, vcpu: Vcpu, error: Exception) -> None:
        super().__init__(vcpu)
        self.error = error
        self.access = _access(_snapshot(vcpu))

    def __str__(self) -> str:
        return (
            f"bug: what answers {self.access} of {self.vcpu} raised "
            f"{type(self.error).__name__}: {self.error}"
        )

    def details(self) -> list[str]:
        from traceback import format_exception

        return "".join(format_exception(self.error)).splitlines()


def decode(vcpu: Vcpu) -> Exit:
    """The Exit for what kvm_run says, accesses aside."""
    state = _snapshot(vcpu)
    reason = state.exit_reason
    if reason == uapi.KVM_EXIT_INTR:
        return KICKED
    if reason == uapi.KVM_EXIT_HLT:
        return Halted(vcpu)
    if reason == uapi.KVM_EXIT_SHUTDOWN:
        return Shutdown(vcpu)
    if reason == uapi.KVM_EXIT_SYSTEM_EVENT:
        event = state.system_event
        return SystemEvent(vcpu, event.type, tuple(event.data[: event.ndata]))
    if reason == uapi.KVM_EXIT_FAIL_ENTRY:
        entry = state.fail_entry
        return EntryFailed(vcpu, entry.hardware_entry_failure_reason, entry.cpu)
    if reason == uapi.KVM_EXIT_INTERNAL_ERROR:
        return _internal_error(vcpu, state)
    return UnexpectedExit(vcpu, reason, tuple(vcpu.kvm_run[3][_UNION_U64 : _UNION_U64 + 4]))


def _internal_error(vcpu: Vcpu, state: kvm_run) -> InternalError:
    error = state.internal
    instruction = b""
    if error.suberror == uapi.KVM_INTERNAL_ERROR_EMULATION:
        # ndata counts 64-bit words: the flags, then (size and bytes) in two.
        failure = state.emulation_failure
        has_bytes = uapi.KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
        if failure.ndata >= 3 and failure.flags & has_bytes:
            instruction = bytes(failure.insn_bytes[: failure.insn_size])
    return InternalError(vcpu, error.suberror, tuple(error.data[: error.ndata]), instruction)


def _words(data: tuple[int, ...]) -> str:
    return "KVM's data: " + " ".join(f"{word:#x}" for word in data)


def _snapshot(vcpu: Vcpu) -> kvm_run:
    return uapi.kvm_run.from_buffer_copy(vcpu.kvm_run[0])


def _access(state: kvm_run) -> str:
    """In words, the access that kvm_run tells of."""
    if state.exit_reason == uapi.KVM_EXIT_IO:
        io = state.io
        kind = "write to" if io.direction == uapi.KVM_EXIT_IO_OUT else "read from"
        return f"the {io.size}-byte {kind} port {io.port:#x}"
    if state.exit_reason == uapi.KVM_EXIT_MMIO:
        mmio = state.mmio
        kind = "write to" if mmio.is_write else "read from"
        return f"the {mmio.len}-byte {kind} guest-physical {mmio.phys_addr:#x}"
    return "an access"
