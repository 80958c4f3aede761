# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The run loop against a scripted KVM_RUN: what a real KVM seldom or never does on demand."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.kvm import (
    KICKED,
    EntryFailed,
    Exit,
    Halted,
    HandlerFailed,
    InternalError,
    RunFailed,
    Shutdown,
    SystemEvent,
    UnexpectedExit,
    Vcpu,
    kick,
    run,
    run_loop,
)
from pyvmm.uapi import kvm as uapi
from tests.unit.kvm.conftest import FakeVcpu

Step = Callable[[uapi.kvm_run], None]


class Memory:
    """Answers all addresses, byte by byte, and knows how big each access was."""

    def __init__(self) -> None:
        self.cache: dict[int, Any] = {}
        self.bytes: dict[int, int] = {}
        self.sizes: list[int] = []

    def lookup(self, address: int, size: int) -> Any:
        self.cache[address << 4 | size] = (self.read, self.write, address)
        return self.cache[address << 4 | size]

    def read(self, address: int, size: int) -> int:
        self.sizes.append(size)
        data = bytes(self.bytes.get(address + i, 0) for i in range(size))
        return int.from_bytes(data, "little")

    def write(self, address: int, size: int, value: int) -> None:
        self.sizes.append(size)
        data = value.to_bytes(size, "little")
        self.bytes.update((address + i, data[i]) for i in range(size))


def script(vcpu: FakeVcpu, *steps: Step | int) -> Callable[[int, int], int]:
    """A KVM_RUN that goes through the steps: one fills kvm_run, a number is an errno."""
    left = list(steps)

    def kvm_run(fd: int, request: int) -> int:
        assert request == uapi.KVM_RUN
        step = left.pop(0)
        if isinstance(step, int):
            raise OSError(step, "told to fail")
        step(vcpu.state)
        return 0

    return kvm_run


def go(vcpu: FakeVcpu, *steps: Step | int, mmio: Memory | None = None) -> Exit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_loop, "ioctl", script(vcpu, *steps))
        exit = run(cast(Vcpu, vcpu), Memory(), mmio or Memory())
    assert vcpu.entered == 0
    return exit


def exit_with(reason: int, **fields: Any) -> Step:
    """Fill exit_reason, and union members given as member__field=value."""

    def step(state: uapi.kvm_run) -> None:
        state.exit_reason = reason
        for path, value in fields.items():
            target: Any = state
            *parents, name = path.split("__")
            for parent in parents:
                target = getattr(target, parent)
            if isinstance(value, tuple | bytes):
                getattr(target, name)[: len(value)] = list(value)
            else:
                setattr(target, name, value)

    return step


def mmio_exit(address: int, size: int, data: bytes | None = None) -> Step:
    def step(state: uapi.kvm_run) -> None:
        state.exit_reason = uapi.KVM_EXIT_MMIO
        state.mmio.phys_addr, state.mmio.len = address, size
        state.mmio.is_write = data is not None
        state.mmio.data[:] = list((data or b"").ljust(8, b"\xee"))

    return step


def test_where_things_are_in_kvm_run() -> None:
    """The loop's own numbers against the kernel's structures."""
    state, union = uapi.kvm_run, uapi.kvm_run_anonymous_1
    start = cast(Any, state).anonymous_1.offset
    io, mmio = cast(Any, uapi.kvm_run_io), cast(Any, uapi.kvm_run_mmio)
    assert cast(Any, union).io.offset == cast(Any, union).mmio.offset == 0
    assert cast(Any, state).exit_reason.offset == run_loop.EXIT_REASON_U32 * 4
    assert cast(Any, state).immediate_exit.offset == kick.IMMEDIATE_EXIT
    assert start + io.direction.offset == run_loop.IO_DIRECTION_U8
    assert start + io.size.offset == run_loop.IO_SIZE_U8
    assert start + io.port.offset == run_loop.IO_PORT_U16 * 2
    assert start + io.count.offset == run_loop.IO_COUNT_U32 * 4
    assert start + io.data_offset.offset == run_loop.IO_DATA_OFFSET_U64 * 8
    assert start + mmio.phys_addr.offset == run_loop.MMIO_ADDRESS_U64 * 8
    assert start + mmio.data.offset == run_loop.MMIO_DATA_U64 * 8
    assert start + mmio.len.offset == run_loop.MMIO_SIZE_U32 * 4
    assert start + mmio.is_write.offset == run_loop.MMIO_IS_WRITE_U8


@given(st.integers(0, (1 << 52) - 9), st.integers(1, 8), st.binary(min_size=8, max_size=8))
def test_mmio_of_any_size_reaches_handlers_in_sizes_they_know(
    address: int, size: int, data: bytes
) -> None:
    memory, vcpu = Memory(), FakeVcpu()
    write, read = mmio_exit(address, size, data[:size]), mmio_exit(address, size)
    assert go(vcpu, write, read, errno.EINTR, mmio=memory) is KICKED
    assert {at - address: byte for at, byte in memory.bytes.items()} == dict(enumerate(data[:size]))
    assert bytes(vcpu.state.mmio.data[:size]) == data[:size]
    assert set(memory.sizes) <= {1, 2, 4, 8}


def test_a_kick_is_taken_back_and_nothing_else_is(vcpu: FakeVcpu) -> None:
    vcpu.state.immediate_exit = 1
    assert go(vcpu, errno.EINTR) is KICKED
    assert vcpu.state.immediate_exit == 0
    assert not KICKED.is_crash


def test_a_processor_that_got_its_init_goes_on(vcpu: FakeVcpu) -> None:
    assert isinstance(go(vcpu, errno.EAGAIN, exit_with(uapi.KVM_EXIT_HLT)), Halted)


def test_a_failed_run_tells_where_memory_is_gone(vcpu: FakeVcpu) -> None:
    vcpu.state.exit_reason = uapi.KVM_EXIT_MEMORY_FAULT
    vcpu.state.memory_fault.gpa, vcpu.state.memory_fault.size = 0xABC000, 0x1000
    exit = go(vcpu, errno.EFAULT)
    assert isinstance(exit, RunFailed)
    assert "KVM_RUN: EFAULT" in str(exit)
    assert "behind guest-physical 0xabc000+0x1000 is gone" in str(exit)
    assert "is broken" in str(go(vcpu, 133))


@pytest.mark.parametrize(
    ("step", "kind", "text"),
    [
        (exit_with(uapi.KVM_EXIT_SHUTDOWN), Shutdown, "triple fault"),
        (
            exit_with(
                uapi.KVM_EXIT_FAIL_ENTRY,
                fail_entry__hardware_entry_failure_reason=0x80000021,
                fail_entry__cpu=3,
            ),
            EntryFailed,
            "host CPU 3) refused its state, hardware reason 0x80000021",
        ),
        (
            exit_with(
                uapi.KVM_EXIT_INTERNAL_ERROR,
                internal__suberror=uapi.KVM_INTERNAL_ERROR_DELIVERY_EV,
                internal__ndata=2,
                internal__data=(0x80000B0E, 0x31),
            ),
            InternalError,
            "the IDT, a descriptor or the stack is on MMIO",
        ),
        (
            exit_with(uapi.KVM_EXIT_INTERNAL_ERROR, internal__suberror=77),
            InternalError,
            "KVM internal error 77",
        ),
        (exit_with(uapi.KVM_EXIT_EXCEPTION), UnexpectedExit, "KVM_EXIT_EXCEPTION (1)"),
        (exit_with(uapi.KVM_EXIT_HYPERCALL), UnexpectedExit, "KVM_EXIT_HYPERCALL (3)"),
        (exit_with(9999), UnexpectedExit, "exit reason (9999)"),
    ],
)
def test_crashes_say_what_they_mean(
    vcpu: FakeVcpu, step: Step, kind: type[Exit], text: str
) -> None:
    exit = go(vcpu, step)
    assert type(exit) is kind
    assert exit.is_crash
    assert text in str(exit)
    assert "vCPU 0" in str(exit)


@pytest.mark.parametrize(
    ("event", "is_crash", "text"),
    [
        (uapi.KVM_SYSTEM_EVENT_SHUTDOWN, False, "vCPU 0 signalled a shutdown"),
        (uapi.KVM_SYSTEM_EVENT_RESET, False, "vCPU 0 signalled a reset"),
        (uapi.KVM_SYSTEM_EVENT_CRASH, True, "vCPU 0 signalled a crash"),
        (99, True, "vCPU 0 signalled system event 99"),
    ],
)
def test_system_events(vcpu: FakeVcpu, event: int, is_crash: bool, text: str) -> None:
    step = exit_with(
        uapi.KVM_EXIT_SYSTEM_EVENT,
        system_event__type=event,
        system_event__ndata=2,
        system_event__data=(5, 6),
    )
    exit = go(vcpu, step)
    assert isinstance(exit, SystemEvent)
    assert (exit.data, exit.is_crash, str(exit)) == ((5, 6), is_crash, text)


def test_an_unknown_exit_shows_what_kvm_told(vcpu: FakeVcpu) -> None:
    exit = go(vcpu, exit_with(uapi.KVM_EXIT_UNKNOWN, hw__hardware_exit_reason=0x404))
    assert str(exit).endswith("KVM_EXIT_UNKNOWN (0)")
    assert exit.details() == ["KVM's data: 0x404 0x0 0x0 0x0"]


def test_kvm_exit_intr_is_a_kick(vcpu: FakeVcpu) -> None:
    assert go(vcpu, exit_with(uapi.KVM_EXIT_INTR)) is KICKED


@pytest.mark.parametrize("flags", [0, uapi.KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES])
def test_an_emulation_failure_has_the_instruction_if_kvm_tells(vcpu: FakeVcpu, flags: int) -> None:
    step = exit_with(
        uapi.KVM_EXIT_INTERNAL_ERROR,
        emulation_failure__suberror=uapi.KVM_INTERNAL_ERROR_EMULATION,
        emulation_failure__ndata=3,
        emulation_failure__flags=flags,
        emulation_failure__insn_size=2,
        emulation_failure__insn_bytes=b"\x0f\x0b\xcc",
    )
    exit = go(vcpu, step)
    assert isinstance(exit, InternalError)
    assert exit.instruction == (b"\x0f\x0b" if flags else b"")
    details = "instruction as KVM fetched it: 0f 0b" if flags else "KVM's data: 0x0 0x"
    assert exit.details()[0].startswith(details)


ACCESSES = (uapi.KVM_EXIT_IO, uapi.KVM_EXIT_MMIO)


@given((st.integers(0, 60) | st.integers(0, 0xFFFFFFFF)).filter(lambda r: r not in ACCESSES))
def test_every_other_reason_is_a_value_that_can_be_reported(reason: int) -> None:
    exit = go(FakeVcpu(), exit_with(reason))
    assert str(exit)
    if exit is not KICKED:
        report = exit.report(lambda gpa, size: b"")
        assert report.startswith(str(exit))
        assert report.endswith(
            "reading the registers of vCPU 0: KVM_GET_REGS: EIO (Input/output error)"
        )


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.EINTR, "of the handler")])
def test_what_a_handler_raises_ends_the_run_with_its_access(
    vcpu: FakeVcpu, error: Exception
) -> None:
    class Failing(Memory):
        def read(self, address: int, size: int) -> int:
            raise error

    exit = go(vcpu, mmio_exit(0x1234, 4), mmio=Failing())
    assert isinstance(exit, HandlerFailed)
    assert exit.error is error
    assert "the 4-byte read from guest-physical 0x1234 of vCPU 0 raised" in str(exit)


def test_no_answer_at_all_is_a_bug_too(vcpu: FakeVcpu) -> None:
    class Silent(Memory):
        def read(self, address: int, size: int) -> int:
            return cast(int, None)

    assert isinstance(go(vcpu, mmio_exit(0, 4), mmio=Silent()), HandlerFailed)


def test_what_is_no_error_passes_through(vcpu: FakeVcpu) -> None:
    """Ctrl-C on the thread that runs the vCPU, say."""

    class Interrupted(Memory):
        def read(self, address: int, size: int) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(vcpu, mmio_exit(0, 4), mmio=Interrupted())
    assert vcpu.entered == 0
