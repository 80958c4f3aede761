# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guests of a few instructions: assembled here, run on the real KVM, their accesses recorded."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from pyvmm.kvm import Exit, System, Vcpu, Vm, guest_cpuid, run
from pyvmm.memory import AddressMap, GuestMemory
from pyvmm.uapi.ioctl import ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.uapi.ioctl import Argument

RAM_SIZE = 512 << 10
CODE = 0x1000
STACK = 0x8000
# Neither RAM nor anything else; a real-mode guest has it at ds:0.
MMIO = 0xD0000
MMIO_SIZE = 0x10000
LIMIT = 30.0  # seconds, for whatever should take milliseconds

# Long mode's tables
PML4, PDPT, PD_LOW, PD_HIGH, GDT, IDT = 0x70000, 0x71000, 0x72000, 0x73000, 0x74000, 0x75000
_PRESENT_WRITABLE = 3
_HUGE = 1 << 7
_UNCACHED = 1 << 4


@cache
def assemble(source: str, origin: int = CODE) -> bytes:
    """Machine code at origin for GNU assembly, which begins with .code16 or .code64."""
    if shutil.which("as") is None or shutil.which("ld") is None:
        pytest.skip("no assembler: apt-get install binutils")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.s").write_text(source + "\n")
        for command in (
            f"as --64 -o {folder}/a.o {folder}/a.s",
            f"ld -Ttext={origin:#x} -e {origin:#x} --oformat=binary -o {folder}/a {folder}/a.o",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        return (folder / "a").read_bytes()


class Recorder:
    """A handler that notes each access and gives the answers it was told."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, int]] = []
        self.answers: list[int] = []
        self.on_access: Callable[[], None] | None = None

    def read(self, offset: int, size: int) -> int:
        value = self.answers.pop(0) if self.answers else 0
        self.log.append(("read", offset, size, value))
        if self.on_access:
            self.on_access()
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("write", offset, size, value))
        if self.on_access:
            self.on_access()

    @property
    def written(self) -> list[int]:
        return [value for kind, _offset, _size, value in self.log if kind == "write"]


class Guest:
    """A VM with RAM, one vCPU and recorders: ports from 0x500 on, MMIO, and a port to say done."""

    PORT = 0x500  # to 0x5ff
    DONE = 0xF4

    def __init__(self, system: System, *, irqchip: bool = True, cpus: int = 1) -> None:
        self.system = system
        self.vm: Vm = system.create_vm()
        if irqchip:
            self.vm.set_identity_map(0xFEFFC000)
            self.vm.set_tss(0xFEFFD000)
            self.vm.create_irqchip()
            self.vm.create_pit()
        self.memory = GuestMemory(RAM_SIZE)
        self.memory.add_observer(self.vm.memslots)
        self.ports, self.mmio = AddressMap("ports"), AddressMap("mmio")
        self.port, self.area, self.done = Recorder(), Recorder(), Recorder()
        self.ports.add(self.PORT, 0x100, self.port)
        self.ports.add(self.DONE, 4, self.done)
        self.mmio.add(MMIO, MMIO_SIZE, self.area)
        for index in range(cpus):
            vcpu = self.vm.create_vcpu(index)
            leaves = guest_cpuid(system.supported_cpuid(), index, cpus)
            vcpu.set_cpuid(leaves)
            vcpu.set_boot_msrs(leaves)
        self.vcpu: Vcpu = self.vm.vcpus[0]
        self.done.on_access = self.vcpu.kick
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """Have every vCPU's thread end."""
        for vcpu in self.vm.vcpus:
            vcpu.kick()
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.memory.remove_observer(self.vm.memslots)
        self.vm.close()
        self.memory.close()

    def real_mode(self, source: str) -> None:
        """Load source and have the vCPU at its start: real mode, flat but for ds, which is MMIO."""
        self.memory.write(CODE, assemble(f".code16\n{source}"))
        sregs = self.vcpu.get_sregs()
        sregs.cs.base = sregs.cs.selector = 0
        sregs.ds.base, sregs.ds.selector = MMIO, MMIO >> 4
        self.vcpu.set_sregs(sregs)
        self._set_rip()

    def long_mode(self, source: str) -> None:
        """The same in long mode, the lowest 2 MiB and the local APIC's mapped to themselves.

        Code is 0x08 and data 0x10 in the GDT; the IDT is there to be filled by set_gate().
        """
        self.memory.write(CODE, assemble(f".code64\n{source}"))
        table = struct.Struct("<Q")
        self.memory.write(PML4, table.pack(PDPT | _PRESENT_WRITABLE))
        self.memory.write(PDPT, table.pack(PD_LOW | _PRESENT_WRITABLE))
        self.memory.write(PDPT + 3 * 8, table.pack(PD_HIGH | _PRESENT_WRITABLE))
        self.memory.write(PD_LOW, table.pack(_PRESENT_WRITABLE | _HUGE))
        apic = 0xFEE00000
        entry = PD_HIGH + (apic >> 21 & 511) * 8
        self.memory.write(entry, table.pack(apic | _PRESENT_WRITABLE | _HUGE | _UNCACHED))
        self.memory.write(GDT, struct.pack("<QQQ", 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF))
        sregs = self.vcpu.get_sregs()
        for name in ("cs", "ds", "es", "ss", "fs", "gs"):
            segment = getattr(sregs, name)
            segment.base, segment.limit, segment.selector = 0, 0xFFFFFFFF, 0x10
            segment.type, segment.present, segment.s, segment.dpl = 3, 1, 1, 0
            segment.g, segment.db, segment.l = 1, 1, 0
        sregs.cs.type, sregs.cs.selector, sregs.cs.db, sregs.cs.l = 11, 8, 0, 1
        sregs.gdt.base, sregs.gdt.limit = GDT, 23
        sregs.idt.base, sregs.idt.limit = IDT, 0xFFF
        sregs.cr3, sregs.cr4, sregs.cr0 = PML4, 1 << 5, 0x80000011
        sregs.efer = 0x500
        self.vcpu.set_sregs(sregs)
        self._set_rip()

    def _set_rip(self) -> None:
        regs = self.vcpu.get_regs()
        regs.rip, regs.rsp, regs.rflags = CODE, STACK, 2
        self.vcpu.set_regs(regs)

    def set_gate(self, vector: int, handler: int) -> None:
        """Long mode: have vector go to handler (below 64 KiB)."""
        self.memory.write(IDT + vector * 16, struct.pack("<HHHHQ", handler, 8, 0x8E00, 0, 0))

    def run(self) -> Exit:
        return run(self.vcpu, self.ports, self.mmio)

    def run_until_done(self) -> None:
        """Run on this thread until the guest writes to the done port."""
        before = len(self.done.log)
        exit = self.run()
        assert not exit.is_crash, exit.report(self.memory.read)
        assert len(self.done.log) == before + 1, f"ended before it was done: {exit}"

    def run_in_background(self, index: int = 0) -> RunningVcpu:
        """Run a vCPU on a thread of its own."""
        running = RunningVcpu(self, index)
        self._threads.append(running)
        running.start()
        return running


class RunningVcpu(threading.Thread):
    """One run() on a thread; result() waits for its end."""

    def __init__(self, guest: Guest, index: int) -> None:
        super().__init__()
        self._guest = guest
        self._vcpu = guest.vm.vcpus[index]
        self._exit: Exit | None = None

    def run(self) -> None:
        self._exit = run(self._vcpu, self._guest.ports, self._guest.mmio)

    def result(self) -> Exit:
        self.join(LIMIT)
        assert self._exit is not None, "the vCPU still runs"
        return self._exit


@pytest.fixture
def system(no_leaks: None) -> Iterator[System]:
    with System() as system:
        yield system


@pytest.fixture
def guest(system: System) -> Iterator[Guest]:
    guest = Guest(system)
    yield guest
    guest.close()


@pytest.fixture
def make_guest(system: System) -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def make(*, irqchip: bool = True, cpus: int = 1) -> Guest:
        made.append(Guest(system, irqchip=irqchip, cpus=cpus))
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.fixture
def ioctls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The request number of each KVM ioctl that is made from now on, KVM_RUN aside."""
    made: list[int] = []

    def counting(fd: int, request: int, arg: Argument = 0) -> int:
        made.append(request)
        return ioctl(fd, request, arg)

    monkeypatch.setattr("pyvmm.kvm.errors.ioctl", counting)
    return made
