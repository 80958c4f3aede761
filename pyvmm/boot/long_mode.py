# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Long mode from the first instruction: descriptors, page tables, and the state of the vCPU.

Sources: the kernel's Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; Intel SDM volume 3,
sections 3.4.5 (descriptors) and 4.5 (4-level paging).
"""

from __future__ import annotations

import struct

from pyvmm.memory import layout
from pyvmm.uapi.kvm import kvm_dtable, kvm_regs, kvm_segment

from .placement import LONG_MODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.kvm import Vcpu

    from .placement import Placement

# LONG_MODE is a page of descriptors, then the page tables: one page for each of the two upper
# levels, and one for each GiB.
_GDT = LONG_MODE
_PML4 = _GDT + layout.PAGE_SIZE
_PDPT = _PML4 + layout.PAGE_SIZE
_DIRECTORIES = _PDPT + layout.PAGE_SIZE

_PAGE_TABLE = struct.Struct("<512Q")
_LARGE_PAGE = 2 * layout.MIB
_PRESENT_WRITABLE = 0x03
_ACCESSED_DIRTY = 0x60
_PAGE_SIZE_BIT = 0x80

# Selectors of the boot protocol: __BOOT_CS, __BOOT_DS; and one for the task register.
_CS, _DS, _TR = 0x10, 0x18, 0x20
# Type, S, DPL 0, P, then AVL, L, D/B, G; the limit's upper bits are between them.
_CODE_DESCRIPTOR = 0x00AF_9B00_0000_FFFF
_DATA_DESCRIPTOR = 0x00CF_9300_0000_FFFF
_DESCRIPTORS = struct.pack("<4Q", 0, 0, _CODE_DESCRIPTOR, _DATA_DESCRIPTOR)

_CODE, _DATA, _BUSY_TSS = 0xB, 0x3, 0xB
_FLAT_LIMIT = 0xFFFF_FFFF

_CR0_PE_ET_PG = 0x8000_0011
_CR4_PAE = 0x20
_EFER_LME_LMA = 0x500
_RFLAGS_RESERVED = 0x02


def write_tables(placement: Placement, end: int) -> None:
    """Write what LongModeEntry needs into guest RAM, with addresses below end mapped to themselves.

    end is at most 4 GiB, and at least the first GiB is mapped. Raises DoesNotFit, AddressTaken.
    """
    gibs = max(1, -(-end // layout.GIB))
    pages = _DIRECTORIES + gibs * layout.PAGE_SIZE - LONG_MODE
    buffer = placement.claim(LONG_MODE, pages, "the page tables that the kernel starts on")
    directories = [_DIRECTORIES + i * layout.PAGE_SIZE for i in range(gibs)]
    upper = (_table([_PDPT]), _table(directories))
    flags = _PRESENT_WRITABLE | _ACCESSED_DIRTY | _PAGE_SIZE_BIT
    leaves = (
        _PAGE_TABLE.pack(*range(start + flags, start + layout.GIB + flags, _LARGE_PAGE))
        for start in range(0, gibs * layout.GIB, layout.GIB)
    )
    buffer[:] = b"".join((_DESCRIPTORS.ljust(layout.PAGE_SIZE, b"\0"), *upper, *leaves))


def _table(tables: list[int]) -> bytes:
    """A table of the upper levels, whose first entries are these tables."""
    entries = [table | _PRESENT_WRITABLE for table in tables]
    return _PAGE_TABLE.pack(*entries, *[0] * (512 - len(entries)))


class LongModeEntry:
    """Where and how a guest starts that wants to be in 64-bit mode, with paging on."""

    kind = "64-bit Linux"
    is_linux = True

    __slots__ = ("address", "rsi")

    def __init__(self, address: int, rsi: int) -> None:
        """rsi is the address of the boot parameters."""
        self.address = address
        self.rsi = rsi

    def apply(self, vcpu: Vcpu) -> None:
        """Put the boot vCPU at the entry, interrupts off. Raises what the vCPU raises."""
        sregs = vcpu.get_sregs()
        sregs.cs = _segment(_CS, _CODE, l=1)
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = _segment(_DS, _DATA, db=1)
        sregs.tr = kvm_segment(limit=0x67, selector=_TR, type=_BUSY_TSS, present=1)
        sregs.ldt = kvm_segment(unusable=1)
        sregs.gdt = kvm_dtable(base=_GDT, limit=len(_DESCRIPTORS) - 1)
        sregs.idt = kvm_dtable()
        sregs.cr0 = _CR0_PE_ET_PG
        sregs.cr2 = sregs.cr8 = 0
        sregs.cr3 = _PML4
        sregs.cr4 = _CR4_PAE
        sregs.efer = _EFER_LME_LMA
        sregs.interrupt_bitmap[:] = [0] * len(sregs.interrupt_bitmap)
        vcpu.set_sregs(sregs)
        vcpu.set_regs(kvm_regs(rip=self.address, rsi=self.rsi, rflags=_RFLAGS_RESERVED))


def _segment(selector: int, kind: int, **mode: int) -> kvm_segment:
    """A flat segment of privilege level 0."""
    return kvm_segment(limit=_FLAT_LIMIT, selector=selector, type=kind, present=1, s=1, g=1, **mode)
