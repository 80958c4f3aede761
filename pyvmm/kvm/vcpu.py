# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Vcpu: one virtual processor, its registers and its shared kvm_run page.

Source: the kernel's Documentation/virt/kvm/api.rst, "vcpu ioctls". KVM wants them called by the
thread that runs the vCPU; from another they wait until the vCPU is out of KVM_RUN.
"""

from __future__ import annotations

import os
from errno import EINVAL
from mmap import mmap

from ..uapi import kvm as uapi
from . import msrs
from .cpuid import MAX_CPUID_ENTRIES
from .errors import KvmCallFailed, call
from .flexible import flexible
from .kick import Kick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..uapi.kvm import kvm_cpuid_entry2, kvm_regs, kvm_sregs
    from .stats import Stats, Value


class Vcpu:
    """One virtual processor; index is its APIC id. A context manager that its Vm owns.

    After reset vCPU 0 is in real mode at the reset vector; the others wait for INIT and SIPI.
    run() in run_loop.py runs it.
    """

    def __init__(self, fd: int, index: int, run_size: int) -> None:
        """Take over fd. run_size is what KVM_GET_VCPU_MMAP_SIZE says, in bytes."""
        self.fd = fd
        self.index = index
        self.refused_msrs: tuple[int, ...] = ()
        self._stats: Stats | None = None
        try:
            self._map = mmap(fd, run_size)
        except OSError as error:
            os.close(fd)
            raise KvmCallFailed(f"mapping kvm_run of {self}", "mmap", error.errno or 0) from None
        # kvm_run as 1-, 2-, 4- and 8-byte numbers: made once, for the run loop.
        u8 = memoryview(self._map)
        self.kvm_run = (u8, u8.cast("H"), u8.cast("I"), u8.cast("Q"))
        self._kick = Kick(u8)

    def __enter__(self) -> Vcpu:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent. Raises RuntimeError while a thread runs the vCPU."""
        self._kick.close()
        for view in self.kvm_run:
            view.release()
        self._map.close()
        if self._stats:
            self._stats.close()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # -- running ------------------------------------------------------------------------------

    def enter(self) -> None:
        """The calling thread is going to run this vCPU. Raises RuntimeError if another does."""
        self._kick.enter()

    def leave(self) -> None:
        """The calling thread runs this vCPU no more."""
        self._kick.leave()

    def kick(self) -> None:
        """Have run() return KICKED: the present one, or else the next. From any thread.

        What the kick is for has to be said before it, where run()'s caller looks after it. Never
        blocks, and does nothing once the vCPU is closed.
        """
        self._kick.kick()

    # -- registers ----------------------------------------------------------------------------

    def get_regs(self) -> kvm_regs:
        """The general registers, RIP and RFLAGS."""
        regs = uapi.kvm_regs()
        call(self.fd, uapi.KVM_GET_REGS, regs, doing=f"reading the registers of {self}")
        return regs

    def set_regs(self, regs: kvm_regs) -> None:
        call(self.fd, uapi.KVM_SET_REGS, regs, doing=f"setting the registers of {self}")

    def get_sregs(self) -> kvm_sregs:
        """Segments, descriptor tables, control registers, EFER and the APIC base."""
        sregs = uapi.kvm_sregs()
        call(self.fd, uapi.KVM_GET_SREGS, sregs, doing=f"reading the system registers of {self}")
        return sregs

    def set_sregs(self, sregs: kvm_sregs) -> None:
        """Raises KvmCallFailed, with EINVAL for a state that KVM doesn't take."""
        call(
            self.fd,
            uapi.KVM_SET_SREGS,
            sregs,
            doing=f"setting the system registers of {self}",
            cures={
                EINVAL: "this KVM takes no such combination of CR0, CR4 and EFER, or a bit of "
                "them that the vCPU's CPUID doesn't have"
            },
        )

    def set_cpuid(self, leaves: Sequence[kvm_cpuid_entry2]) -> None:
        """Set what CPUID answers; before the first run."""
        header, entries = flexible(uapi.kvm_cpuid2, uapi.kvm_cpuid_entry2, len(leaves))
        header.nent = len(leaves)
        entries[:] = list(leaves)
        call(self.fd, uapi.KVM_SET_CPUID2, header, doing=f"setting the CPUID leaves of {self}")

    def get_cpuid(self) -> list[kvm_cpuid_entry2]:
        """What CPUID answers, in KVM's own order."""
        header, entries = flexible(uapi.kvm_cpuid2, uapi.kvm_cpuid_entry2, MAX_CPUID_ENTRIES)
        header.nent = MAX_CPUID_ENTRIES
        call(self.fd, uapi.KVM_GET_CPUID2, header, doing=f"reading the CPUID leaves of {self}")
        return entries[: header.nent]

    def set_msrs(self, values: Mapping[int, int]) -> tuple[int, ...]:
        """Set registers by index. What KVM refuses is returned, and kept in refused_msrs."""
        refused = msrs.set_msrs(self.fd, values)
        self.refused_msrs += refused
        return refused

    def set_boot_msrs(self, leaves: Sequence[kvm_cpuid_entry2]) -> None:
        """As firmware would have left them for an operating system; leaves is the vCPU's CPUID."""
        misc_enable = self.get_msrs((msrs.IA32_MISC_ENABLE,)).get(msrs.IA32_MISC_ENABLE, 0)
        self.set_msrs(msrs.boot_msrs(leaves, misc_enable))

    def get_msrs(self, indices: Iterable[int]) -> dict[int, int]:
        """Values by index, without the registers that KVM refuses."""
        return msrs.get_msrs(self.fd, indices)

    def get_tsc_khz(self) -> int:
        """The frequency of the TSC in kHz; 0 if KVM doesn't know."""
        try:
            return call(self.fd, uapi.KVM_GET_TSC_KHZ, doing=f"reading the TSC frequency of {self}")
        except KvmCallFailed:  # one that isn't constant
            return 0

    def set_tsc_khz(self, tsc_khz: int) -> None:
        """Have the TSC run at so many kHz. Raises KvmCallFailed."""
        call(
            self.fd,
            uapi.KVM_SET_TSC_KHZ,
            tsc_khz,
            doing=f"setting the TSC frequency of {self} to {tsc_khz} kHz",
            cures={
                EINVAL: "this host's processors can't scale the TSC to that; leave out cpu.tsc_khz"
            },
        )

    def get_mp_state(self) -> int:
        """KVM_MP_STATE_*: runnable, halted, waiting for INIT or SIPI."""
        state = uapi.kvm_mp_state()
        call(self.fd, uapi.KVM_GET_MP_STATE, state, doing=f"reading the MP state of {self}")
        return state.mp_state

    def set_mp_state(self, mp_state: int) -> None:
        state = uapi.kvm_mp_state(mp_state=mp_state)
        call(self.fd, uapi.KVM_SET_MP_STATE, state, doing=f"setting the MP state of {self}")

    def translate(self, linear: int) -> int | None:
        """The guest-physical address behind a linear one; None if no page is there."""
        translation = uapi.kvm_translation(linear_address=linear)
        call(self.fd, uapi.KVM_TRANSLATE, translation, doing=f"translating {linear:#x} on {self}")
        return translation.physical_address if translation.valid else None

    # -- counters -----------------------------------------------------------------------------

    @property
    def has_stats(self) -> bool:
        """Whether stats() has its file, and waits for nothing from now on."""
        return self._stats is not None

    def stats(self) -> dict[str, Value]:
        """KVM's own counters of this vCPU: exits, io_exits, mmio_exits, halt_exits, ...

        The first time, it waits until the vCPU is out of KVM_RUN.
        """
        from .stats import Stats

        if self._stats is None:
            self._stats = Stats(self.fd, str(self))
        return self._stats.read()

    def __str__(self) -> str:
        return f"vCPU {self.index}"
