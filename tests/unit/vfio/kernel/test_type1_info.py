# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a type1 IOMMU tells of itself, from kernels of all ages, and lies about it."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import Interval, ProtocolError
from pyvmm.vfio.kernel.type1_info import parse

PGSIZES, CAPS = 1, 2
RANGES, MIGRATION, AVAILABLE = 1, 2, 3


def info(*capabilities: tuple[int, bytes], flags: int = PGSIZES | CAPS) -> bytes:
    chain = b""
    for number, (id, body) in enumerate(capabilities):
        end = 32 + len(chain) + 8 + len(body)
        last = number == len(capabilities) - 1
        chain += struct.pack("=HHI", id, 1, 0 if last else end) + body
    first = 32 if capabilities else 0
    return struct.pack("=IIQII8x", 32 + len(chain), flags, 0x40201000, first, 0) + chain


def ranges(*pairs: tuple[int, int]) -> bytes:
    return struct.pack("=II", len(pairs), 0) + b"".join(struct.pack("=QQ", *p) for p in pairs)


def test_all_of_it() -> None:
    found = parse(
        info(
            (AVAILABLE, struct.pack("=II", 65530, 0)),
            (99, b"unknown!"),
            (RANGES, ranges((0, 0xFEDFFFFF), (0xFEF00000, (1 << 64) - 1))),
            (MIGRATION, struct.pack("=I4xQQ", 0, 0x1000, 1 << 28)),
        )
    )
    assert found.page_sizes == 0x40201000
    assert found.ranges == (Interval(0, 0xFEE00000), Interval(0xFEF00000, 1 << 64))
    assert found.entries_available == 65530
    assert (found.dirty_page_sizes, found.max_dirty_bitmap) == (0x1000, 1 << 28)
    assert [c.id for c in found.capabilities] == [AVAILABLE, 99, RANGES, MIGRATION]


def test_old_kernels() -> None:
    # Without capabilities, and without the field that tells where they are.
    for data in (info(flags=PGSIZES), info(flags=PGSIZES)[:16]):
        found = parse(data)
        assert found.page_sizes == 0x40201000
        assert (found.ranges, found.entries_available, found.dirty_page_sizes) == (None,) * 3
    assert parse(info(flags=0)).page_sizes == 0x1000


def test_any_number_of_mappings() -> None:
    assert parse(info((AVAILABLE, b"\xff" * 8))).entries_available is None


@pytest.mark.parametrize(
    "data",
    [
        info((RANGES, struct.pack("=II", 2, 0) + bytes(16))),
        info((RANGES, struct.pack("=II", 0xFFFFFFFF, 0))),
        info((RANGES, b"")),
        info((MIGRATION, bytes(8))),
        info((AVAILABLE, b"")),
        info((99, b""))[:36],
        struct.pack("=IIQII8x", 40, CAPS, 0, 32, 0) + struct.pack("=HHI", 9, 1, 32),
    ],
)
def test_lies(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


@given(st.binary(min_size=16, max_size=200))
def test_corrupt_answers_neither_loop_nor_crash(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)
