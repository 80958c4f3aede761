# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ACPI tables: walked as a guest walks them, and disassembled by ACPICA."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.boot import acpi
from pyvmm.boot.acpi import aml
from pyvmm.memory import layout

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
    return Tables(acpi.build(4, MMIO64, intx_gsi))


def test_all_tables_are_there_and_fit(tables: Tables) -> None:
    assert set(tables.by_signature) == {"XSDT", "FACP", "APIC", "MCFG", "DSDT"}
    assert layout.ACPI_BASE + len(acpi.build(1024, MMIO64, intx_gsi)) <= layout.VGA_HOLE_END


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
    madt = Tables(acpi.build(cpus, MMIO64, intx_gsi))["APIC"]
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
    assert struct.unpack("<QHBBI", tables["MCFG"][44:]) == (0xE000_0000, 0, 0, 255, 0)


# -- what ACPICA says -------------------------------------------------------------------------


@pytest.fixture
def iasl(tmp_path: Path) -> Path:
    if shutil.which("iasl") is None:
        pytest.skip("no iasl: apt-get install acpica-tools")
    return tmp_path


def run_iasl(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["iasl", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert not re.search(r"(?i)invalid|incorrect|warning +\d|error +\d|remark +\d", output), output
    return output


def disassemble(folder: Path, name: str, table: bytes) -> str:
    (folder / f"{name}.aml").write_bytes(table)
    run_iasl(folder, "-d", f"{name}.aml")
    return (folder / f"{name}.dsl").read_text()


@pytest.mark.parametrize("name", ["FACP", "APIC", "MCFG", "XSDT", "DSDT"])
def test_acpica_has_no_complaint(tables: Tables, iasl: Path, name: str) -> None:
    text = disassemble(iasl, name, tables[name])
    assert not re.search(r"(?i)invalid|unknown|reserved space|checksum.*should", text), text


def test_acpica_compiles_the_dsdt_again(tables: Tables, iasl: Path) -> None:
    disassemble(iasl, "DSDT", tables["DSDT"])
    output = run_iasl(iasl, "-p", "again", "DSDT.dsl")
    assert "0 Errors, 0 Warnings, 0 Remarks" in output


def test_the_dsdt_tells_what_the_machine_has(tables: Tables, iasl: Path) -> None:
    text = re.sub(r"\s+|/\*.*?\*/", "", disassemble(iasl, "DSDT", tables["DSDT"]))
    assert 'EisaId("PNP0A08")' in text
    assert "WordIO(ResourceProducer,MinFixed,MaxFixed,PosDecode,EntireRange,0x0000," in text
    assert "0x0000000200000000,//RangeMinimum0x000000FFFFFFFFFF,//RangeMaximum" in text
    assert "Memory32Fixed(ReadWrite,0xE0000000,//AddressBase0x10000000,//AddressLength" in text
    assert "Name(\\_S5,Package(0x04)//_S5_:S5SystemState{Zero,Zero,Zero,Zero})" in text
    assert "0x03F8,//RangeMinimum" in text
    assert "IRQNoFlags(){4}" in text


def test_the_routing_table_has_every_pin(tables: Tables, iasl: Path) -> None:
    text = disassemble(iasl, "DSDT", tables["DSDT"]).replace("Zero", "0x0").replace("One", "0x1")
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


def test_a_guest_without_room_for_64_bit_bars(iasl: Path) -> None:
    tables = Tables(acpi.build(1, (1 << 33, 1 << 33), intx_gsi))
    text = disassemble(iasl, "DSDT", tables["DSDT"])
    assert "DWordMemory" in text
    assert "QWordMemory" not in text


# -- AML --------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 20))
def test_a_length_counts_itself(size: int) -> None:
    """PkgLength as section 20.2.4 has it decoded."""
    term = aml.scope("ABCD", bytes(size))
    lead = term[1]
    extra = lead >> 6
    length = lead & (0x3F if extra == 0 else 0x0F)
    for i in range(extra):
        length |= term[2 + i] << 4 + 8 * i
    assert 1 + length == len(term)
    assert term[2 + extra : 6 + extra] == b"ABCD"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (2, "0a02"),
        (0xFF, "0aff"),
        (0x100, "0b0001"),
        (0x1_0000, "0c00000100"),
        (1 << 32, "0e0000000001000000"),
    ],
)
def test_integers(value: int, encoded: str) -> None:
    assert aml.integer(value).hex() == encoded


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("_HID", b"_HID"),
        ("RTC", b"RTC_"),
        ("\\_SB", b"\\_SB_"),
        ("\\_SB.PCI0", b"\\\x2e_SB_PCI0"),
        ("\\_SB.PCI0.COM1", b"\\\x2f\x03_SB_PCI0COM1"),
    ],
)
def test_names(path: str, encoded: bytes) -> None:
    assert aml.name_string(path) == encoded


def test_eisa_ids() -> None:
    assert aml.eisa_id("PNP0A08") == bytes.fromhex("0c41d00a08")


def test_strings() -> None:
    assert aml.string("QEMU0001") == b"\x0dQEMU0001\0"
