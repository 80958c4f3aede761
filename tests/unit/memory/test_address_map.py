# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""AddressMap against a model that looks at one byte at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.memory import AddressMap, Overlap


class Bytes:
    """An area that remembers what was written to it."""

    def __init__(self, size: int, fill: int = 0) -> None:
        self.data = bytearray([fill]) * size

    def read(self, offset: int, size: int) -> int:
        assert offset >= 0
        assert offset + size <= len(self.data)
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        assert offset >= 0
        assert offset + size <= len(self.data)
        self.data[offset : offset + size] = value.to_bytes(size, "little")


def read(area_map: AddressMap, address: int, size: int) -> int:
    reader, _, offset = area_map.lookup(address, size)
    return reader(offset, size)


def write(area_map: AddressMap, address: int, size: int, value: int) -> None:
    _, writer, offset = area_map.lookup(address, size)
    writer(offset, size, value)


def test_unclaimed_reads_give_all_ones_and_are_counted() -> None:
    area_map = AddressMap("mmio")
    assert read(area_map, 0x1000, 4) == 0xFFFF_FFFF
    write(area_map, 0x1000, 8, 0)
    assert (area_map.unclaimed.reads, area_map.unclaimed.writes) == (1, 1)


def test_overlaps_are_refused_and_change_nothing() -> None:
    area_map = AddressMap("mmio")
    area_map.add(0x1000, 0x1000, Bytes(0x1000))
    for start, size in ((0xFFF, 2), (0x1000, 0x1000), (0x1800, 1), (0x1FFF, 10), (0, 0x10000)):
        with pytest.raises(Overlap):
            area_map.add(start, size, Bytes(size))
    area_map.add(0x2000, 1, Bytes(1))
    area_map.add(0xFFF, 1, Bytes(1))


def test_remove_unknown_area_is_an_error() -> None:
    area_map = AddressMap("mmio")
    area_map.add(0x1000, 0x10, Bytes(0x10))
    for start in (0xFFF, 0x1001, 0x2000):
        with pytest.raises(KeyError):
            area_map.remove(start)


def test_changes_empty_the_cache() -> None:
    area_map = AddressMap("mmio")
    assert read(area_map, 0x10, 1) == 0xFF
    area_map.add(0x10, 1, Bytes(1, 0x42))
    assert read(area_map, 0x10, 1) == 0x42
    area_map.remove(0x10)
    assert not area_map.cache
    assert read(area_map, 0x10, 1) == 0xFF


def test_the_cache_is_bounded() -> None:
    area_map = AddressMap("mmio")
    for address in range(20_000):
        area_map.lookup(address, 1)
    assert len(area_map.cache) <= 4096


@given(
    areas=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6),
    accesses=st.lists(
        st.tuples(
            st.integers(0, 90),
            st.sampled_from((1, 2, 4, 8)),
            st.none() | st.binary(min_size=8, max_size=8),
        ),
        max_size=30,
    ),
)
def test_accesses_agree_with_a_byte_by_byte_model(
    areas: list[tuple[int, int]], accesses: list[tuple[int, int, bytes | None]]
) -> None:
    area_map = AddressMap("mmio")
    model: dict[int, int] = {}
    for start, size in areas:
        try:
            area_map.add(start, size, Bytes(size))
        except Overlap:
            continue
        model.update({start + i: 0 for i in range(size)})
    for address, size, data in accesses:
        if data is None:
            expected = bytes(model.get(address + i, 0xFF) for i in range(size))
            assert read(area_map, address, size) == int.from_bytes(expected, "little")
        else:
            write(area_map, address, size, int.from_bytes(data[:size], "little"))
            for i in range(size):
                if address + i in model:
                    model[address + i] = data[i]


def test_who_is_alone_in_its_pages_is_told() -> None:
    areas = AddressMap("test")
    calls: list[str] = []
    assert areas.add(0x2000, 0x100, Bytes(8), crowded=lambda: calls.append("first"))
    assert areas.add(0x1000, 0x1000, Bytes(8))
    assert areas.add(0x3000, 0x1800, Bytes(8))
    assert calls == [], "up to their edges they share no page"
    assert not areas.add(0x4FF0, 0x10, Bytes(8), crowded=lambda: calls.append("second"))
    assert not areas.add(0x2FFF, 1, Bytes(8))
    assert calls == ["first"]
    with pytest.raises(Overlap):
        areas.add(0x20FF, 4, Bytes(8))
    assert calls == ["first"], "who can't come disturbs nobody"
    assert not areas.add(0x4800, 1, Bytes(8))
    assert calls == ["first", "second"]
    areas.remove(0x2000)
    areas.remove(0x2FFF)
    assert areas.add(0x2800, 8, Bytes(8))
    assert calls == ["first", "second"], "who has gone isn't called"
