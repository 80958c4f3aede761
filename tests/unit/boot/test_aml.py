# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""AML: the encoding of each term by the specification, and what ACPICA makes of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.boot.acpi import aml, resources
from tests.unit.boot import acpica

BORDERS = (0, 1, 57, 58, 59, 62, 63, 64, 4089, 4090, 4091, 4095, 4096, 1 << 20)
"""Around where a PkgLength grows by a byte, and what has no room in one."""


def table(*terms: bytes) -> bytes:
    """A DSDT of these terms."""
    body = b"".join(terms)
    header = struct.pack(
        "<4sIBB6s8sI4sI", b"DSDT", 36 + len(body), 2, 0, b"PYVMM ", b"TEST    ", 1, b"PYVM", 1
    )
    checksum = -sum(header + body) & 0xFF
    return header[:9] + bytes((checksum,)) + header[10:] + body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    acpica.need()
    return tmp_path


@given(st.one_of(st.sampled_from(BORDERS), st.integers(0, 1 << 20)))
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


def test_uuids() -> None:
    text = "33db4d5b-1ff7-401c-9657-7441c03dd766"
    assert aml.uuid(text) == b"\x11\x13\x0a\x10" + UUID(text).bytes_le


# -- run by ACPICA ----------------------------------------------------------------------------


def values(folder: Path, terms: Sequence[bytes], calls: Sequence[str]) -> Sequence[int | bytes]:
    """What evaluating each of calls gives, in a table of terms."""
    return acpica.evaluated(folder, table(*terms), *calls)


def test_integers_are_what_they_were(folder: Path) -> None:
    numbers = [0, 1, 2, *(n for bits in (8, 16, 32) for n in ((1 << bits) - 1, 1 << bits))]
    numbers.append((1 << 64) - 1)
    terms = [aml.name(f"I{at:03}", aml.integer(n)) for at, n in enumerate(numbers)]
    assert values(folder, terms, [f"\\I{at:03}" for at in range(len(numbers))]) == numbers


def test_buffers_of_every_length_are_what_they_were(folder: Path) -> None:
    buffers = [bytes(i * 7 & 0xFF for i in range(size)) for size in BORDERS if 0 < size <= 4096]
    terms = [aml.name(f"B{at:03}", aml.buffer(data)) for at, data in enumerate(buffers)]
    assert values(folder, terms, [f"\\B{at:03}" for at in range(len(buffers))]) == buffers


def test_bodies_of_every_length_are_run_to_their_end(folder: Path) -> None:
    """If and Else, too, begin with their length, which must not lead into what follows."""
    nothing = aml.store(aml.ARG0, aml.LOCAL0)
    terms = [
        aml.method(
            f"M{size:03}",
            1,
            aml.if_(aml.equal(aml.ARG0, aml.integer(1)), nothing * size),
            aml.else_(nothing * (size + 1), aml.return_(aml.integer(2))),
            aml.return_(aml.integer(3)),
        )
        for size in range(18, 24)
    ]
    calls = [f"\\M{size:03} {given}" for size in range(18, 24) for given in (1, 0)]
    assert values(folder, terms, calls) == [3, 2] * 6


def test_expressions(folder: Path) -> None:
    both = aml.ARG0, aml.ARG1
    terms = [
        aml.method("ANDM", 2, aml.return_(aml.and_(*both))),
        aml.method("ORM", 2, aml.or_(*both, aml.LOCAL0), aml.return_(aml.LOCAL0)),
        aml.method("SAME", 2, aml.return_(aml.equal(*both))),
        aml.method("DIFF", 2, aml.return_(aml.not_equal(*both))),
    ]
    true, false = (1 << 64) - 1, 0
    calls = {
        "\\ANDM 0x6C 0x55": 0x44,
        "\\ORM_ 0x6C 0x55": 0x7D,
        "\\SAME 0x6C 0x6C": true,
        "\\SAME 0x6C 0x55": false,
        "\\DIFF 0x6C 0x6C": false,
        "\\DIFF 0x6C 0x55": true,
    }
    assert values(folder, terms, list(calls)) == list(calls.values())


def test_fields_of_a_buffer(folder: Path) -> None:
    change = aml.method(
        "FILD",
        1,
        aml.create_dword_field(aml.ARG0, 4, "SOME"),
        aml.or_(aml.name_string("SOME"), aml.integer(0x8000_0001), aml.name_string("SOME")),
        aml.return_(aml.ARG0),
    )
    given = "\\FILD (00 01 02 03 10 20 30 40 50)"
    assert values(folder, [change], [given]) == [bytes.fromhex("00010203 112030c0 50")]


def test_resources_end_with_their_tag(folder: Path) -> None:
    listed = resources.resources(resources.io_ports(0x3F8, 8), resources.irq(4))
    (found,) = values(folder, [aml.name("CRS", listed)], ["\\CRS_"])
    assert found == bytes.fromhex("4701 f803 f803 01 08  22 1000  7900")
