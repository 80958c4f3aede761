# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Flat firmware: a ROM that ends at 4 GiB, entered at the reset vector."""

from __future__ import annotations

from pyvmm.memory import ROM, layout
from pyvmm.uapi.kvm import kvm_dtable, kvm_regs, kvm_segment

from .errors import DoesNotFit
from .image import ImageFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.kvm import Vcpu
    from pyvmm.memory import GuestMemory, MemoryRegion

_SIZE_LIMIT = layout.FIRMWARE_LIMIT - layout.FIRMWARE_START
_LEGACY_SIZE = 128 * layout.KIB

# The state after reset (Intel SDM volume 3, table 10-1).
_RESET_VECTOR = layout.FIRMWARE_LIMIT - 16
_CS_BASE, _CS_SELECTOR = 0xFFFF_0000, 0xF000
_CR0_CD_NW_ET = 0x6000_0010
_RFLAGS_RESERVED = 0x02
_RDX_SIGNATURE = 0x600  # family 6
_CODE, _DATA, _LDT, _BUSY_TSS = 0xB, 0x3, 0x2, 0xB
_REAL_MODE_LIMIT = 0xFFFF


def load(memory: GuestMemory, path: str) -> None:
    """Put the image at path below 4 GiB, read-only, and its last 128 KiB below 1 MiB.

    The copy below 1 MiB is RAM, as after a chipset's shadowing. Raises UnreadableImage,
    DoesNotFit, and what the memory raises where the ROM can't be added.
    """
    with ImageFile(path, "firmware") as image:
        if image.size > _SIZE_LIMIT:
            raise DoesNotFit(
                f"firmware {path} has {image.size:#x} bytes, more than {_SIZE_LIMIT:#x}: "
                "is it a flat image?"
            )
        if memory.ram_size < layout.VGA_HOLE_END:
            raise DoesNotFit("a guest needs at least 1 MiB of RAM to boot")
        size = -(-image.size // layout.PAGE_SIZE) * layout.PAGE_SIZE
        region = _rom(memory, layout.FIRMWARE_LIMIT - size, size)
        assert region.buffer is not None
        image.read_into(region.buffer[size - image.size :], 0)
        legacy = min(image.size, _LEGACY_SIZE)
        image.read_into(memory.view(layout.VGA_HOLE_END - legacy, legacy), image.size - legacy)


def _rom(memory: GuestMemory, gpa: int, size: int) -> MemoryRegion:
    """The ROM region; when a guest is booted again it is there already."""
    for region in memory.regions:
        if region.kind == ROM and region.gpa == gpa and region.size == size:
            return region
    return memory.allocate(gpa, size, ROM, "firmware")


class ResetVector:
    """Starts the boot vCPU as a processor starts after reset, in real mode."""

    kind = "firmware"
    is_linux = False

    address = _RESET_VECTOR

    __slots__ = ()

    def apply(self, vcpu: Vcpu) -> None:
        """Put the boot vCPU into its reset state. Raises what the vCPU raises."""
        sregs = vcpu.get_sregs()
        data = kvm_segment(limit=_REAL_MODE_LIMIT, type=_DATA, present=1, s=1)
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data
        sregs.cs = kvm_segment(
            base=_CS_BASE,
            limit=_REAL_MODE_LIMIT,
            selector=_CS_SELECTOR,
            type=_CODE,
            present=1,
            s=1,
        )
        sregs.tr = kvm_segment(limit=_REAL_MODE_LIMIT, type=_BUSY_TSS, present=1)
        sregs.ldt = kvm_segment(limit=_REAL_MODE_LIMIT, type=_LDT, present=1)
        sregs.gdt = sregs.idt = kvm_dtable(limit=_REAL_MODE_LIMIT)
        sregs.cr0 = _CR0_CD_NW_ET
        sregs.cr2 = sregs.cr3 = sregs.cr4 = sregs.cr8 = 0
        sregs.efer = 0
        sregs.interrupt_bitmap[:] = [0] * len(sregs.interrupt_bitmap)
        vcpu.set_sregs(sregs)
        vcpu.set_regs(
            kvm_regs(rip=_RESET_VECTOR & 0xFFFF, rdx=_RDX_SIGNATURE, rflags=_RFLAGS_RESERVED)
        )
