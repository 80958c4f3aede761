# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ACPI tables: walked as a guest walks them, disassembled and run by ACPICA."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from uuid import UUID

import pytest

from pyvmm.boot import acpi
from pyvmm.memory import layout
from tests.unit.boot import acpica

MMIO64 = (1 << 33, 1 << 40)


def intx_gsi(device: int, pin: int) -> int:
    return 16 + (device + pin - 1) % 8


class Tables:
    """The tables by signature, found from the RSDP on, each checked on the way."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.addresses: dict[str, int] = {}
        signature, oem, revision, _, length, xsdt = struct.unpack_from("<8sx6sBIIQ", block)
        assert (signature, revision, length) == (b"RSD PTR ", 2, 36)
        assert oem == b"PYVMM "
        assert sum(block[:20]) & 0xFF == 0
        assert sum(block[:36]) & 0xFF == 0
        self.by_signature = {"XSDT": self.table(xsdt)}
        entries = self.by_signature["XSDT"][36:]
        for (address,) in struct.iter_unpack("<Q", entries):
            table = self.table(address)
            self.by_signature[table[:4].decode()] = table
        fadt = self["FACP"]
        facs_address, dsdt_address = struct.unpack_from("<II", fadt, 36)
        self.by_signature["DSDT"] = self.table(dsdt_address)
        assert struct.unpack_from("<Q", fadt, 140) == (dsdt_address,)
        facs = self.at(facs_address, 64)
        assert facs_address % 64 == 0
        assert facs[:8] == b"FACS" + struct.pack("<I", 64)
        self.facs = facs

    def __getitem__(self, signature: str) -> bytes:
        return self.by_signature[signature]

    def at(self, address: int, size: int) -> bytes:
        offset = address - layout.ACPI_BASE
        assert offset >= 0
        assert offset + size <= len(self.block)
        return self.block[offset : offset + size]

    def table(self, address: int) -> bytes:
        (size,) = struct.unpack("<I", self.at(address + 4, 4))
        table = self.at(address, size)
        assert sum(table) & 0xFF == 0
        return table


@pytest.fixture
def tables() -> Tables:
    return Tables(acpi.build(4, MMIO64, 3, intx_gsi))


def test_all_tables_are_there_and_fit(tables: Tables) -> None:
    assert set(tables.by_signature) == {"XSDT", "FACP", "APIC", "MCFG", "DSDT"}
    assert layout.ACPI_BASE + len(acpi.build(1024, MMIO64, 3, intx_gsi)) <= layout.VGA_HOLE_END


def test_fadt(tables: Tables) -> None:
    fadt = tables["FACP"]
    assert len(fadt) == 276
    assert struct.unpack_from("<H", fadt, 46) == (9,), "SCI_INT"
    assert struct.unpack_from("<I", fadt, 48) == (0,), "SMI_CMD: always in ACPI mode"
    assert struct.unpack_from("<I", fadt, 56) == (0x600,), "PM1a_EVT_BLK"
    assert struct.unpack_from("<I", fadt, 64) == (0x604,), "PM1a_CNT_BLK"
    assert tuple(fadt[88:90]) == (4, 2)
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert flags & 1 << 10, "RESET_REG_SUP"
    assert not flags & 1 << 20, "HW_REDUCED_ACPI"
    assert struct.unpack_from("<BBBBQB", fadt, 116) == (1, 8, 0, 1, 0xCF9, 6), "RESET_REG"
    assert struct.unpack_from("<BBBBQ", fadt, 148) == (1, 32, 0, 2, 0x600), "X_PM1a_EVT_BLK"
    assert struct.unpack_from("<BBBBQ", fadt, 172) == (1, 16, 0, 2, 0x604), "X_PM1a_CNT_BLK"


def madt_entries(madt: bytes) -> list[bytes]:
    entries = []
    at = 44
    while at < len(madt):
        size = madt[at + 1]
        assert size >= 2
        entries.append(madt[at : at + size])
        at += size
    assert at == len(madt)
    return entries


@pytest.mark.parametrize("cpus", [1, 8, 255, 300])
def test_madt_has_every_processor(cpus: int) -> None:
    madt = Tables(acpi.build(cpus, MMIO64, 3, intx_gsi))["APIC"]
    assert struct.unpack_from("<II", madt, 36) == (0xFEE0_0000, 1)
    ids = []
    for entry in madt_entries(madt):
        if entry[0] == 0:
            assert entry[4] & 1
            ids.append(entry[3])
        elif entry[0] == 9:
            apic_id, flags, uid = struct.unpack_from("<III", entry, 4)
            assert flags & 1
            assert uid == apic_id
            ids.append(apic_id)
    assert ids == list(range(cpus))


def test_madt_tells_how_interrupts_are_wired(tables: Tables) -> None:
    others = [entry for entry in madt_entries(tables["APIC"]) if entry[0] not in (0, 9)]
    assert others == [
        struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC0_0000, 0),
        struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0),
        struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 0xD),
        struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1),
    ]


def test_mcfg(tables: Tables) -> None:
    assert struct.unpack("<QHBBI", tables["MCFG"][44:]) == (0xE000_0000, 0, 0, 3, 0)


# -- what ACPICA says -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    acpica.need()
    return tmp_path


@pytest.mark.parametrize("name", ["FACP", "APIC", "MCFG", "XSDT", "DSDT"])
def test_acpica_has_no_complaint(tables: Tables, folder: Path, name: str) -> None:
    text = acpica.disassembled(folder, name, tables[name])
    assert not re.search(r"(?i)invalid|unknown|reserved space|checksum.*should", text), text


def test_acpica_compiles_the_dsdt_again(tables: Tables, folder: Path) -> None:
    acpica.disassembled(folder, "DSDT", tables["DSDT"])
    output = acpica.iasl(folder, "-p", "again", "DSDT.dsl")
    assert "0 Errors, 0 Warnings, 0 Remarks" in output


def test_the_dsdt_tells_what_the_machine_has(tables: Tables, folder: Path) -> None:
    text = re.sub(r"\s+|/\*.*?\*/", "", acpica.disassembled(folder, "DSDT", tables["DSDT"]))
    assert 'EisaId("PNP0A08")' in text
    assert "WordIO(ResourceProducer,MinFixed,MaxFixed,PosDecode,EntireRange,0x0000," in text
    assert "0x0000000200000000,//RangeMinimum0x000000FFFFFFFFFF,//RangeMaximum" in text
    assert "Memory32Fixed(ReadWrite,0xE0000000,//AddressBase0x10000000,//AddressLength" in text
    assert "Name(\\_S5,Package(0x04)//_S5_:S5SystemState{Zero,Zero,Zero,Zero})" in text
    assert "0x03F8,//RangeMinimum" in text
    assert "IRQNoFlags(){4}" in text


def test_the_routing_table_has_every_pin(tables: Tables, folder: Path) -> None:
    text = (
        acpica.disassembled(folder, "DSDT", tables["DSDT"])
        .replace("Zero", "0x0")
        .replace("One", "0x1")
    )
    routes = re.findall(
        r"Package \(0x04\)\s*{\s*(0x\w+),\s*(0x\w+),\s*(0x\w+),\s*(0x\w+)\s*}", text
    )
    found = [tuple(int(value, 16) for value in route) for route in routes]
    expected = [
        (device << 16 | 0xFFFF, pin - 1, 0, intx_gsi(device, pin))
        for device in range(32)
        for pin in range(1, 5)
    ]
    assert found[: len(expected)] == expected


def test_a_guest_without_room_for_64_bit_bars(folder: Path) -> None:
    tables = Tables(acpi.build(1, (1 << 33, 1 << 33), 0, intx_gsi))
    text = acpica.disassembled(folder, "DSDT", tables["DSDT"])
    assert "DWordMemory" in text
    assert "QWordMemory" not in text


def test_the_bridge_has_as_many_buses_as_there_are(folder: Path) -> None:
    for last_bus in (0, 1, 31, 255):
        tables = Tables(acpi.build(1, MMIO64, last_bus, intx_gsi))
        assert struct.unpack("<QHBBI", tables["MCFG"][44:]) == (0xE000_0000, 0, 0, last_bus, 0)
        text = re.sub(r"\s+|//[^\n]*", "", acpica.disassembled(folder, "DSDT", tables["DSDT"]))
        assert (
            "WordBusNumber(ResourceProducer,MinFixed,MaxFixed,PosDecode,"
            f"0x0000,0x0000,0x{last_bus:04X},0x0000,0x{last_bus + 1:04X},,,)" in text
        )


# -- _OSC, run ----------------------------------------------------------------------------------

HOST_BRIDGE = "33db4d5b-1ff7-401c-9657-7441c03dd766"
HOT_PLUG, SHPC, PME, AER, CAPABILITY, LTR = (1 << bit for bit in range(6))
QUERY, UNKNOWN_UUID, UNKNOWN_REVISION, MASKED = 1, 4, 8, 0x10


def osc(folder: Path, uuid: str, revision: int, *dwords: int) -> tuple[int, ...]:
    """What \\_SB.PCI0._OSC answers."""

    def buffer(data: bytes) -> str:
        return f"({data.hex(' ')})"

    dsdt = Tables(acpi.build(1, MMIO64, 1, intx_gsi))["DSDT"]
    asked = struct.pack(f"<{len(dwords)}I", *dwords)
    call = f"\\_SB.PCI0._OSC {buffer(UUID(uuid).bytes_le)} {revision} {len(dwords)} {buffer(asked)}"
    (answer,) = acpica.evaluated(folder, dsdt, call)
    assert isinstance(answer, bytes)
    return struct.unpack(f"<{len(dwords)}I", answer)


def test_a_guest_gets_control_of_what_there_is(folder: Path) -> None:
    wanted = HOT_PLUG | SHPC | PME | AER | CAPABILITY | LTR
    granted = CAPABILITY
    assert osc(folder, HOST_BRIDGE, 1, QUERY, 0x1F, wanted) == (QUERY | MASKED, 0x1F, granted)
    assert osc(folder, HOST_BRIDGE, 1, 0, 0x1F, granted) == (0, 0x1F, granted)
    assert osc(folder, HOST_BRIDGE, 1, 0, 0x11F, CAPABILITY) == (0, 0x11F, CAPABILITY)
    # CXL's two dwords more.
    assert osc(folder, HOST_BRIDGE, 1, 0, 0, granted, 5, 6) == (0, 0, granted, 5, 6)


def test_a_guest_that_asks_for_something_else_is_told(folder: Path) -> None:
    cxl = "68f2d50b-c469-4d8a-bd3d-941a103fd3fc"
    assert osc(folder, cxl, 1, 0, 0, CAPABILITY) == (UNKNOWN_UUID, 0, CAPABILITY)
    assert osc(folder, HOST_BRIDGE, 2, 0, 0, CAPABILITY) == (UNKNOWN_REVISION, 0, CAPABILITY)
