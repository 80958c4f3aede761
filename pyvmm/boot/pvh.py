# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PVH boot protocol: what the guest is told, and the state it starts in.

Sources: Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h (version 1). What of it
Linux takes is in arch/x86/platform/pvh/enlighten.c there.
"""

from __future__ import annotations

import struct

from pyvmm.uapi.kvm import kvm_dtable, kvm_regs, kvm_segment

from .placement import BOOT_INFO, COMMAND_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.kvm import Vcpu
    from pyvmm.memory import GuestMemory

    from .memory_map import MapEntry

_MAGIC = 0x336EC578
_VERSION = 1

# hvm_start_info, hvm_modlist_entry and hvm_memmap_table_entry
_START_INFO = struct.Struct("<IIIIQQQQII")
_MODULE = struct.Struct("<QQQQ")
_MEMORY_MAP_ENTRY = struct.Struct("<QQII")

_MODULES = BOOT_INFO + _START_INFO.size
_MEMORY_MAP = _MODULES + _MODULE.size

_CR0_PE_ET = 0x11  # ET can't be 0
_RFLAGS_RESERVED = 0x02

# Segment types (Intel SDM volume 3, section 3.4.5): accessed, so that nothing sets the bit.
_CODE, _DATA, _BUSY_TSS = 0xB, 0x3, 0xB
_FLAT_LIMIT = 0xFFFF_FFFF


class PvhKernel:
    """An ELF image in guest RAM: its entry point, and whether it says that it is Linux."""

    command_line_limit = 2047
    """Bytes without the NUL: Linux's COMMAND_LINE_SIZE on x86, which cuts silently."""

    initrd_limit = 1 << 32
    """Linux keeps 32 bits of a module's address."""

    __slots__ = ("address", "is_linux")

    def __init__(self, address: int, is_linux: bool) -> None:
        self.address = address
        self.is_linux = is_linux

    def hand_over(
        self,
        memory: GuestMemory,
        *,
        command_line: bytes,
        memory_map: Sequence[MapEntry],
        rsdp: int,
        initrd: tuple[int, int] | None,
    ) -> PvhEntry:
        """Write hvm_start_info and what it points at; returns how the guest starts.

        command_line ends with a NUL. memory_map has E820's entries and types, rsdp is the address
        of ACPI's root pointer, initrd an address and a size.
        """
        info = _START_INFO.pack(
            _MAGIC,
            _VERSION,
            0,  # flags: not the initial domain
            1 if initrd else 0,
            _MODULES if initrd else 0,
            COMMAND_LINE,
            rsdp,
            _MEMORY_MAP,
            len(memory_map),
            0,
        )
        modules = _MODULE.pack(*(initrd or (0, 0)), 0, 0)
        entries = b"".join(_MEMORY_MAP_ENTRY.pack(*entry, 0) for entry in memory_map)
        memory.write(BOOT_INFO, info + modules + entries)
        memory.write(COMMAND_LINE, command_line)
        return PvhEntry(self.address, BOOT_INFO, self.is_linux)


class PvhEntry:
    """Where and how a PVH guest starts."""

    kind = "pvh"

    __slots__ = ("address", "is_linux", "start_info")

    def __init__(self, address: int, start_info: int, is_linux: bool) -> None:
        self.address = address
        self.start_info = start_info
        self.is_linux = is_linux

    def apply(self, vcpu: Vcpu) -> None:
        """Put the boot vCPU at the entry: flat 32-bit protected mode without paging.

        Raises what the vCPU raises.
        """
        sregs = vcpu.get_sregs()
        sregs.cs = _segment(1, _CODE)
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = _segment(2, _DATA)
        sregs.tr = kvm_segment(limit=0x67, selector=3 << 3, type=_BUSY_TSS, present=1)
        sregs.ldt = kvm_segment(unusable=1)
        sregs.gdt = sregs.idt = kvm_dtable()
        sregs.cr0 = _CR0_PE_ET
        sregs.cr2 = sregs.cr3 = sregs.cr4 = sregs.cr8 = 0
        sregs.efer = 0
        sregs.interrupt_bitmap[:] = [0] * len(sregs.interrupt_bitmap)
        vcpu.set_sregs(sregs)
        vcpu.set_regs(kvm_regs(rip=self.address, rbx=self.start_info, rflags=_RFLAGS_RESERVED))


def _segment(index: int, kind: int) -> kvm_segment:
    """A flat 32-bit segment of privilege level 0."""
    return kvm_segment(limit=_FLAT_LIMIT, selector=index << 3, type=kind, present=1, db=1, s=1, g=1)
