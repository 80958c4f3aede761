# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Rows of whose configuration bits are whose, as masks: what is read, told, and withheld."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.config_view import (
    EMULATED,
    FIXED,
    FOLLOWED,
    PUT_BACK,
    READ_ONLY,
    TOLD,
    ConfigView,
    Row,
    rows_at,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.pci.config_view import Whose


def view(*rows: Row, snapshot: bytes = b"") -> ConfigView:
    """snapshot is what the device has at 0x40."""
    device = ConfigSpace()
    device.data[0x40 : 0x40 + len(snapshot)] = snapshot
    return ConfigView(ConfigSpace(), device, rows, 256)


def test_a_bit_is_the_devices_unless_a_row_takes_it() -> None:
    taken = view(Row("two bits", 0x41, 2, 0x8001), Row("byte", 0x44, 1))
    assert taken.ours(0x40, 4) == 0x00800100
    assert taken.ours(0x44, 1) == 0xFF
    assert taken.ours(0x45, 1) == 0
    assert taken.is_the_devices(0x40, 1)
    assert not taken.is_the_devices(0x40, 2)


def test_the_device_sees_writes_to_bytes_that_have_a_bit_of_it() -> None:
    some = view(
        Row("bit", 0x40, 1, 1),
        Row("byte", 0x42, 1),
        Row("control", 0x44, 2, whose=TOLD),
        Row("read-only", 0x47, 1, whose=READ_ONLY),
    )
    assert list(some.told(0x40, 2, 0xFFFE)) == [(0x40, 2, 0xFFFE)]
    assert list(some.told(0x42, 1, 0xFF)) == []
    assert list(some.told(0x40, 4, 0x44332210)) == [(0x40, 2, 0x2210), (0x43, 1, 0x44)]
    assert list(some.told(0x44, 4, 0x44332211)) == [(0x44, 2, 0x2211), (0x46, 1, 0x33)]
    assert list(some.told(0x47, 1, 0x44)) == []
    assert some.ours(0x44, 4) == 0x0000FFFF, "what can't be written is the device's to be read"
    assert not some.is_the_devices(0x47, 1)


def test_fixed_bits_have_a_value_or_the_devices() -> None:
    some = view(
        Row("a value", 0x40, 2, 0x0FF0, FIXED, 0x0550),
        Row("the device's", 0x40, 2, 0x000F, FIXED),
        snapshot=b"\xff\xff",
    )
    assert some.config.u16(0x40) == 0x055F
    assert list(some.told(0x40, 2, 0xA000)) == [(0x41, 1, 0xA5)], "it sees them as they are"
    some.config.write(0x40, 2, 0)
    assert some.config.u16(0x40) == 0x055F


def test_what_is_put_back_is_the_devices() -> None:
    some = view(Row("register", 0x41, 2, 0x7FFF, PUT_BACK), snapshot=b"\x11\x22\xf3\x44")
    assert some.is_the_devices(0x40, 4)
    assert some.put_back == [(0x41, 2, 0x7322)]
    assert list(some.told(0x41, 1, 5)) == [(0x41, 1, 5)]


def test_what_is_followed_is_the_devices_too() -> None:
    some = view(Row("state", 0x44, 2, 3, FOLLOWED))
    assert some.ours(0x44, 2) == 0
    assert not some.is_the_devices(0x44, 1)
    assert some.is_the_devices(0x45, 1)
    assert list(some.told(0x44, 1, 3)) == [(0x44, 1, 3)]


def test_told_registers_are_known() -> None:
    told = Row("control", 0x44, 2, whose=TOLD)
    assert view(told, Row("other", 0x50, 4)).told_rows == [told]


def test_rows_that_fit_are_moved_to_their_capability() -> None:
    rows = (Row("first", 2, 2), Row("second", 4, 4))
    assert [row.offset for row in rows_at(rows, 0x40, 0x48)] == [0x42, 0x44]
    assert [row.offset for row in rows_at(rows, 0x40, 0x47)] == [0x42]
    assert list(rows_at(rows, 0x40, 0x43)) == []


KINDS: list[Whose] = [EMULATED, TOLD, FIXED, READ_ONLY, FOLLOWED, PUT_BACK]
REGISTERS = st.lists(
    st.tuples(
        st.integers(0x40, 0x4C),
        st.sampled_from([1, 2, 4]),
        st.integers(0, 0xFFFFFFFF),
        st.sampled_from(KINDS),
    ),
    max_size=4,
)


@given(registers=REGISTERS, at=st.integers(0x40, 0x4C), size=st.sampled_from([1, 2, 4]))
@pytest.mark.parametrize("value", [0, 0xFFFFFFFF, 0x12345678])
def test_a_write_goes_out_once_and_no_further(
    value: int, registers: list[tuple[int, int, int, Whose]], at: int, size: int
) -> None:
    rows = [Row("", offset, width, bits, whose) for offset, width, bits, whose in registers]
    some = view(*rows, snapshot=bytes(range(16)))
    at &= -size
    value &= (1 << 8 * size) - 1
    some.config.write(at, size, value)
    written: dict[int, int] = {}
    for offset, length, part in some.told(at, size, value):
        assert offset % length == 0, "a register's natural place"
        for i in range(length):
            assert offset + i not in written
            written[offset + i] = part >> 8 * i & 0xFF
    for offset in range(at, at + size):
        mine = [row for row in rows if row.offset <= offset < row.offset + row.size]
        ours = {
            kind: union(row.mask >> 8 * (offset - row.offset) for row in mine if row.whose == kind)
            for kind in (EMULATED, TOLD, FIXED)
        }
        untold = (ours[EMULATED] | ours[FIXED]) & 0xFF
        withheld = untold == 0xFF or any(row.whose == READ_ONLY for row in mine)
        assert (offset in written) == (not withheld)
        if offset in written:
            kept = some.config.u8(offset) & untold
            assert written[offset] == (value >> 8 * (offset - at) & 0xFF & ~untold) | kept


def union(masks: Iterable[int]) -> int:
    """Of their lowest bytes."""
    bits = 0
    for mask in masks:
        bits |= mask
    return bits & 0xFF
