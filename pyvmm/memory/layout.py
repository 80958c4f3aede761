# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The guest-physical address map of the machine, as constants.

It follows the PC: RAM from 0 to the PCI hole below 4 GiB, the rest of RAM from 4 GiB up, and
64-bit BARs above RAM. All values are guest-physical addresses or sizes in bytes.

    0            +---------------------+
                 | RAM                 |  (ACPI_BASE: ACPI tables, RSDP first)
    LOW_RAM_LIMIT+---------------------+
                 | 32-bit BARs         |
    ECAM_BASE    +---------------------+
                 | ECAM, 256 buses     |
    0xf0000000   +---------------------+
                 | IOAPIC, KVM's TSS,  |
                 | LAPIC, firmware ROM |
    4 GiB        +---------------------+
                 | RAM beyond the hole |
                 +---------------------+
                 | 64-bit BARs         |
                 +---------------------+
"""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

PAGE_SIZE = 4 * KIB

LOW_RAM_LIMIT = 0xC000_0000
"""RAM below 4 GiB ends here at the latest; what does not fit goes to HIGH_RAM_BASE."""

HIGH_RAM_BASE = 4 * GIB

VGA_HOLE_START = 0xA_0000
"""Start of the legacy hole (VGA, option ROMs, BIOS), which runs up to 1 MiB."""

VGA_HOLE_END = 0x10_0000

ACPI_BASE = 0xE_0000
"""The RSDP lies here, where ACPI 6.5 section 5.2.5.1 has the guest look for it."""

RESET_VECTOR = 0xF_FFF0
"""Where a PC's processor begins after a reset, as real mode has it: f000:fff0."""

MMIO32_START = 0xC000_0000
MMIO32_END = 0xE000_0000

ECAM_BASE = 0xE000_0000
ECAM_SIZE = 256 * MIB
"""1 MiB a bus, 256 buses (PCI Express Base 6.0, section 7.2.2)."""

IOAPIC_BASE = 0xFEC0_0000
LAPIC_BASE = 0xFEE0_0000

IDENTITY_MAP_BASE = 0xFEFF_C000
"""One page that KVM on Intel hosts uses for real mode (KVM_SET_IDENTITY_MAP_ADDR)."""

TSS_BASE = 0xFEFF_D000
"""Three pages, likewise (KVM_SET_TSS_ADDR)."""

FIRMWARE_START = 0xFF00_0000
FIRMWARE_LIMIT = 4 * GIB
"""A flat firmware image ends here, so that the reset vector 0xfffffff0 lies in it."""

IO_START = 0x1000
IO_END = 0x1_0000
"""I/O ports given to I/O BARs. Those below are the platform's."""

MMIO64_SIZE_MAX = 1 << 40


def ram_end(ram_size: int) -> int:
    """The address at which so much RAM ends, in bytes: beyond the PCI hole if it has to."""
    return ram_size if ram_size <= LOW_RAM_LIMIT else HIGH_RAM_BASE + ram_size - LOW_RAM_LIMIT


def mmio64_window(ram_size: int, address_bits: int) -> tuple[int, int]:
    """Return (start, end) of the window for 64-bit BARs.

    It begins at the first GiB boundary above RAM of ram_size bytes and is as large as a guest
    with address_bits of physical address can reach, up to 1 TiB. It is empty (start == end)
    where the address width leaves no room.
    """
    top = max(HIGH_RAM_BASE, ram_end(ram_size))
    start = -(-top // GIB) * GIB
    return start, max(start, min(1 << address_bits, start + MMIO64_SIZE_MAX))


# -- the platform's own ports and interrupts: the devices answer there, ACPI tells the guest --

RTC_PORT = 0x70
"""CMOS index; data is the next one."""

DEBUG_EXIT_PORT = 0xF4

COM1_PORT = 0x3F8
COM1_GSI = 4

PVPANIC_PORT = 0x505

PM1A_EVENT_PORT = 0x600
"""ACPI PM1a status and enable, two bytes each."""

PM1A_CONTROL_PORT = 0x604

RESET_PORT = 0xCF9

SLP_TYP_S5 = 0
"""The sleep type that, written to PM1a control with SLP_EN, means power-off.

0, as in QEMU's q35: many small kernels write 0x2000 to port 0x604 without asking _S5.
"""

SCI_GSI = 9
