# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The tables without AML: FADT and FACS, MADT (processors and interrupts), MCFG (ECAM).

Each function returns what follows the table's header; the FACS has no such header.

Sources: ACPI 6.5, sections 5.2.9, 5.2.10 and 5.2.12; PCI Firmware 3.3, section 4.1.2.
"""

from __future__ import annotations

import struct

from pyvmm.memory import layout

# -- FADT -------------------------------------------------------------------------------------

_HEADER_SIZE = 36
_FADT_SIZE = 276
_FADT_MINOR = 5

_WBINVD = 1 << 0
_PROC_C1 = 1 << 2
_NO_FIXED_POWER_BUTTON = 1 << 4
_NO_FIXED_SLEEP_BUTTON = 1 << 5
_NO_FIXED_RTC_WAKE = 1 << 6
_RESET_REGISTER_SUPPORTED = 1 << 10

_LEGACY_DEVICES = 1 << 0
_NO_VGA = 1 << 2
# The 8042 bit stays clear: the controller is there to reset, nothing is plugged into it.

_NO_C_STATE = 0x0FFF  # a latency that says: not supported
_CENTURY = 0x32
_RESET_VALUE = 6  # RST_CPU and SYS_RST

_SYSTEM_IO = 1
_BYTE_ACCESS, _WORD_ACCESS = 1, 2


def fadt(dsdt_address: int, facs_address: int) -> bytes:
    """The Fixed ACPI Description Table: not hardware-reduced, always in ACPI mode.

    There is no PM timer: a guest has KVM's clock, and Linux would take 5 ms to look at another one.
    Without KVM's clock it calibrates the TSC by the PIT.
    """
    event, control = layout.PM1A_EVENT_PORT, layout.PM1A_CONTROL_PORT
    flags = (
        _WBINVD
        | _PROC_C1
        | _NO_FIXED_POWER_BUTTON
        | _NO_FIXED_SLEEP_BUTTON
        | _NO_FIXED_RTC_WAKE
        | _RESET_REGISTER_SUPPORTED
    )
    # Offsets are the specification's; all else is zero. SMI_CMD is one of the zeroes: there is
    # no mode to switch.
    fields = (
        (36, "<I", facs_address),
        (40, "<I", dsdt_address),
        (46, "<H", layout.SCI_GSI),
        (56, "<I", event),
        (64, "<I", control),
        (88, "<B", 4),  # PM1_EVT_LEN
        (89, "<B", 2),  # PM1_CNT_LEN
        (96, "<H", _NO_C_STATE),
        (98, "<H", _NO_C_STATE),
        (108, "<B", _CENTURY),
        (109, "<H", _LEGACY_DEVICES | _NO_VGA),
        (112, "<I", flags),
        (128, "<B", _RESET_VALUE),
        (131, "<B", _FADT_MINOR),
        (140, "<Q", dsdt_address),
    )
    content = bytearray(_FADT_SIZE)
    for offset, kind, value in fields:
        struct.pack_into(kind, content, offset, value)
    content[116:128] = _port(layout.RESET_PORT, 8, _BYTE_ACCESS)
    content[148:160] = _port(event, 32, _WORD_ACCESS)
    content[172:184] = _port(control, 16, _WORD_ACCESS)
    return bytes(content[_HEADER_SIZE:])


def _port(port: int, bits: int, access: int) -> bytes:
    """A generic address structure for an I/O port (section 5.2.3.2)."""
    return struct.pack("<BBBBQ", _SYSTEM_IO, bits, 0, access, port)


def facs() -> bytes:
    """The firmware's waking vector and the global lock; nobody here uses either."""
    return struct.pack("<4sIIIIIQB31x", b"FACS", 64, 0, 0, 0, 0, 0, 2)


# -- MADT -------------------------------------------------------------------------------------

_PCAT_COMPAT = 1  # there are two 8259s
_ENABLED = 1
_ALL_PROCESSORS = 0xFF
_ALL_PROCESSORS_X2APIC = 0xFFFF_FFFF
_ACTIVE_HIGH_LEVEL = 0x0D
_TIMER_IRQ, _TIMER_GSI = 0, 2
_NMI_PIN = 1


def madt(cpus: int) -> bytes:
    """Processors with APIC ids 0 to cpus - 1, one IOAPIC with GSIs from 0, and LINT1 as NMI."""
    entries = [
        struct.pack("<BBBBI", 0, 8, cpu, cpu, _ENABLED)
        if cpu < _ALL_PROCESSORS
        else struct.pack("<BBHIII", 9, 16, 0, cpu, _ENABLED, cpu)
        for cpu in range(cpus)
    ]
    entries += (
        struct.pack("<BBBBII", 1, 12, 0, 0, layout.IOAPIC_BASE, 0),
        struct.pack("<BBBBIH", 2, 10, 0, _TIMER_IRQ, _TIMER_GSI, 0),
        struct.pack("<BBBBIH", 2, 10, 0, layout.SCI_GSI, layout.SCI_GSI, _ACTIVE_HIGH_LEVEL),
        struct.pack("<BBBHB", 4, 6, _ALL_PROCESSORS, 0, _NMI_PIN),
    )
    if cpus > _ALL_PROCESSORS:
        entries.append(struct.pack("<BBHIB3x", 10, 12, 0, _ALL_PROCESSORS_X2APIC, _NMI_PIN))
    return struct.pack("<II", layout.LAPIC_BASE, _PCAT_COMPAT) + b"".join(entries)


# -- MCFG -------------------------------------------------------------------------------------


def mcfg(last_bus: int) -> bytes:
    """Configuration space of segment 0, buses 0 to last_bus, by memory access."""
    return struct.pack("<8xQHBB4x", layout.ECAM_BASE, 0, 0, last_bus)
