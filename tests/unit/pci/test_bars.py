# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""BAR registers: sizing as guests do it, pairs, the ROM's enable bit, and where they decode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.bars import IO, MEM32, MEM64, ROM, ROM_INDEX, Bar
from pyvmm.pci.config_space import ConfigSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.pci.bars import Kind

IO_DECODE, MEMORY_DECODE = 1, 2


def size_of(config: ConfigSpace, at: int, kind: Kind) -> int:
    """Size a BAR as software does: write all-ones, read, put back."""
    width = 8 if kind == MEM64 else 4
    low_bits = {IO: 3, MEM32: 15, MEM64: 15, ROM: 0x7FF}[kind]
    before = config.read(at, width)
    config.write(at, 4, 0xFFFFFFFF)
    if width == 8:
        config.write(at + 4, 4, 0xFFFFFFFF)
    read = config.read(at, width) & ~low_bits
    config.write(at, 4, before & 0xFFFFFFFF)
    if width == 8:
        config.write(at + 4, 4, before >> 32)
    assert config.read(at, width) == before
    return (1 << 8 * width) - read


@pytest.mark.parametrize(
    ("kind", "size", "expected", "flags"),
    [
        (IO, 256, 256, 1),
        (IO, 3, 4, 1),
        (MEM32, 0x10000, 0x10000, 0),
        (MEM32, 1, 16, 0),
        (MEM32, 0x3001, 0x4000, 0),
        (MEM32, 1 << 31, 1 << 31, 0),
        (MEM64, 0x200000, 0x200000, 4),
        (MEM64, 1 << 36, 1 << 36, 4),
    ],
)
def test_sizing(config: ConfigSpace, kind: Kind, size: int, expected: int, flags: int) -> None:
    bar = Bar(config, 2, kind, size)
    assert bar.size == expected
    assert config.u32(0x18) == flags
    assert size_of(config, 0x18, kind) == expected


def test_sizing_a_rom(config: ConfigSpace) -> None:
    bar = Bar(config, ROM_INDEX, ROM, 4000)
    config.write(0x30, 4, 0xFFFFFFFE)
    assert config.read(0x30, 4) == 0xFFFFF000
    assert bar.size == 4096


def test_prefetchable_is_in_the_register(config: ConfigSpace) -> None:
    Bar(config, 0, MEM64, 0x1000, prefetchable=True)
    Bar(config, 2, MEM32, 0x1000, prefetchable=True)
    assert (config.u32(0x10), config.u32(0x14), config.u32(0x18)) == (0xC, 0, 8)


@pytest.mark.parametrize(
    ("kind", "size"), [(IO, 0x10001), (MEM32, (1 << 31) + 1), (MEM64, 1 << 63), (ROM, 1 << 25)]
)
def test_sizes_that_no_register_can_tell(config: ConfigSpace, kind: Kind, size: int) -> None:
    with pytest.raises(ValueError, match="too many for"):
        Bar(config, 0, kind, size)


def test_a_pair_needs_two_registers(config: ConfigSpace) -> None:
    with pytest.raises(ValueError, match="BAR 5"):
        Bar(config, 5, MEM64, 0x1000)


def test_decoding_needs_its_command_bit_and_an_address(config: ConfigSpace) -> None:
    memory, io = Bar(config, 0, MEM32, 0x1000), Bar(config, 1, IO, 0x100)
    assert (memory.decoded(), io.decoded()) == (None, None)
    memory.place(0xC0001000)
    io.place(0xC100)
    assert (memory.decoded(), io.decoded()) == (None, None)
    config.write(4, 2, MEMORY_DECODE)
    assert (memory.decoded(), io.decoded()) == (0xC0001000, None)
    config.write(4, 2, IO_DECODE)
    assert (memory.decoded(), io.decoded()) == (None, 0xC100)
    config.write(0x14, 4, 0)
    assert io.decoded() is None, "address 0 is no address"


def test_a_rom_has_an_enable_bit_of_its_own(config: ConfigSpace) -> None:
    rom = Bar(config, ROM_INDEX, ROM, 0x1000)
    config.write(4, 2, MEMORY_DECODE)
    config.write(0x30, 4, 0xC0002000)
    assert rom.decoded() is None
    config.write(0x30, 4, 0xC0002001)
    assert rom.decoded() == 0xC0002000
    config.write(4, 2, 0)
    assert rom.decoded() is None


@pytest.mark.parametrize(("kind", "at"), [(IO, 0x10), (MEM32, 0x10), (MEM64, 0x10), (ROM, 0x30)])
def test_sizing_with_decode_on_is_no_place(config: ConfigSpace, kind: Kind, at: int) -> None:
    bar = Bar(config, ROM_INDEX if kind == ROM else 0, kind, 0x1000)
    bar.place(0x4000)
    config.write(4, 2, IO_DECODE | MEMORY_DECODE)
    config.write(at, 4, 0xFFFFFFFF)
    assert bar.decoded() is None
    if kind == MEM64:
        config.write(at + 4, 4, 0xFFFFFFFF)
        assert bar.decoded() is None


@pytest.mark.parametrize("address", [0x1_0000, 0xFFFF_0000])
def test_ports_end_at_64_ki(config: ConfigSpace, address: int) -> None:
    bar = Bar(config, 0, IO, 0x100)
    config.write(4, 2, IO_DECODE)
    config.write(0x10, 4, address)
    assert bar.decoded() is None


def test_reset_goes_back_to_where_it_was_placed(config: ConfigSpace) -> None:
    bar, rom = Bar(config, 0, MEM64, 0x1000, prefetchable=True), Bar(config, ROM_INDEX, ROM, 0x1000)
    bar.place(0x12_3456_7000)
    rom.place(0xC0000000)
    config.write(0x10, 4, 0xD0000000)
    config.write(0x14, 4, 1)
    config.write(0x30, 4, 0xD0000001)
    assert bar.address == 0x1_D000_0000
    bar.reset()
    rom.reset()
    assert (config.u32(0x10), config.u32(0x14)) == (0x3456700C, 0x12)
    assert config.u32(0x30) == 0xC0000000
    assert bar.registers == ((0x10, 0x3456700C), (0x14, 0x12))


def test_place_insists_on_alignment(config: ConfigSpace) -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        Bar(config, 0, MEM32, 0x2000).place(0x1000)


@given(
    kind=st.sampled_from([IO, MEM32, MEM64]),
    order=st.integers(4, 16),
    writes=st.lists(st.tuples(st.integers(0, 7), st.sampled_from([1, 2, 4]), st.integers(0))),
)
def test_whatever_is_written_the_address_is_a_place(
    kind: Kind, order: int, writes: list[tuple[int, int, int]]
) -> None:
    config = ConfigSpace()
    bar = Bar(config, 0, kind, 1 << order)
    flags = config.u32(0x10)
    config.write(4, 2, IO_DECODE | MEMORY_DECODE)
    for offset, size, value in writes:
        config.write(0x10 + offset, size, value & (1 << 8 * size) - 1)
        assert config.u32(0x10) & (1 << order) - 1 == flags
        address = bar.decoded()
        if address is not None:
            assert address > 0
            assert address % bar.size == 0
            assert address + bar.size <= 1 << (16 if kind == IO else 52)
