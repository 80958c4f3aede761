# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""All ACPI tables as one block of memory: headers, checksums, and the tables that point at others.

Source: ACPI 6.5, sections 5.2.5 to 5.2.8.
"""

from __future__ import annotations

import struct

from pyvmm.memory import layout

from .dsdt import dsdt
from .fixed import facs, fadt, madt, mcfg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OEM_ID = b"PYVMM "
_OEM_TABLE_ID = b"PYVMM   "
_CREATOR = b"PYVM"

_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_CHECKSUM_OFFSET = 9

_RSDP = struct.Struct("<8sB6sBIIQB3x")
_RSDP_V1_SIZE = 20
_RSDP_REVISION = 2

# The FACS has to be aligned like this; the others don't mind.
_ALIGNMENT = 64


def build(
    cpus: int, mmio64: tuple[int, int], last_bus: int, intx_gsi: Callable[[int, int], int]
) -> bytes:
    """The tables of a machine with so many processors, to be copied to layout.ACPI_BASE.

    The RSDP comes first. mmio64 is the window [start, end) for 64-bit BARs, which may be empty;
    last_bus is the highest number that a PCI bus can have: Linux looks for devices on every bus
    up to there. intx_gsi(device, pin) is the GSI behind an interrupt pin (1 is INTA) of a device
    of bus 0.
    """
    block = bytearray(_ALIGNMENT)

    def add(content: bytes) -> int:
        address = layout.ACPI_BASE + len(block)
        block.extend(content.ljust(-(-len(content) // _ALIGNMENT) * _ALIGNMENT, b"\0"))
        return address

    dsdt_address = add(_table(b"DSDT", 2, dsdt(mmio64, last_bus, intx_gsi)))
    pointers = (
        add(_table(b"FACP", 6, fadt(dsdt_address, facs_address=add(facs())))),
        add(_table(b"APIC", 5, madt(cpus))),
        add(_table(b"MCFG", 1, mcfg(last_bus))),
    )
    xsdt_address = add(_table(b"XSDT", 1, struct.pack(f"<{len(pointers)}Q", *pointers)))
    root = _rsdp(xsdt_address)
    block[: len(root)] = root
    return bytes(block)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A header with the right checksum, then body."""
    size = _HEADER.size + len(body)
    header = bytearray(
        _HEADER.pack(signature, size, revision, 0, _OEM_ID, _OEM_TABLE_ID, 1, _CREATOR, 1)
    )
    header[_CHECKSUM_OFFSET] = _checksum(header + body)
    return bytes(header) + body


def _checksum(data: bytes | bytearray) -> int:
    """The byte that brings the sum of data to zero, modulo 256."""
    return -sum(data) & 0xFF


def _rsdp(xsdt_address: int) -> bytes:
    """The root pointer; no RSDT, which only guests that know no ACPI 2.0 would need."""
    fields = (_OEM_ID, _RSDP_REVISION, 0, _RSDP.size, xsdt_address)
    first = _checksum(_RSDP.pack(b"RSD PTR ", 0, *fields, 0)[:_RSDP_V1_SIZE])
    whole = _checksum(_RSDP.pack(b"RSD PTR ", first, *fields, 0))
    return _RSDP.pack(b"RSD PTR ", first, *fields, whole)
