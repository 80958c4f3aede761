# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ConfigSpace: masks hold for accesses of every size, and declarations make what the
specification says.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_VNDR,
    PCI_COMMAND,
    PCI_EXT_CAP_ID_DSN,
    PCI_EXT_CAP_ID_VNDR,
    PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_PIN,
    PCI_ROM_ADDRESS,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_STATUS_DETECTED_PARITY,
    PCI_STATUS_INTERRUPT,
)
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities

SIZES = (256, 4096)

accesses = st.tuples(
    st.one_of(st.integers(0, 4200), st.integers(min_value=0)),
    st.sampled_from((1, 2, 3, 4, 8)),
    st.one_of(st.integers(0, (1 << 64) - 1), st.integers()),
)
byte_masks = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=40)


def made(size: int, writable: list[tuple[int, int]], w1c: list[tuple[int, int]]) -> ConfigSpace:
    config = ConfigSpace(size)
    config.data[:] = bytes(range(256)) * (size // 256)
    for offset, mask in writable:
        config.make_writable(offset, 1, mask)
    for offset, mask in w1c:
        config.make_write_1_to_clear(offset, 1, mask)
    return config


# What the header of every function lets be written, and cleared by writing 1.
HEADER_WRITABLE = {0x04: 0x47, 0x05: 0x05, 0x0C: 0xFF, 0x0D: 0xFF, 0x3C: 0xFF}
HEADER_CLEARABLE = {0x07: 0xF9}


def all_masks(size: int, header: dict[int, int], declared: list[tuple[int, int]]) -> bytearray:
    masks = bytearray(size)
    for offset, mask in [*header.items(), *declared]:
        masks[offset] |= mask
    return masks


@pytest.mark.parametrize("size", SIZES)
@given(byte_masks, byte_masks, st.lists(accesses, max_size=20))
def test_writes_obey_the_masks_whatever_their_size(
    size: int,
    writable: list[tuple[int, int]],
    w1c: list[tuple[int, int]],
    writes: list[tuple[int, int, int]],
) -> None:
    config = made(size, writable, w1c)
    can_write = all_masks(size, HEADER_WRITABLE, writable)
    can_clear = all_masks(size, HEADER_CLEARABLE, w1c)
    for offset, length, value in writes:
        before = bytes(config.data)
        config.write(offset, length, value)
        for at in range(size):
            old, new = before[at], config.data[at]
            if offset <= at < offset + length:
                written = value >> 8 * (at - offset) & 0xFF
                stored = old & ~can_write[at] | written & can_write[at]
                assert new == stored & ~(written & can_clear[at])
            else:
                assert new == old


@given(byte_masks, byte_masks, accesses)
def test_one_write_is_as_its_bytes_written_one_by_one(
    writable: list[tuple[int, int]], w1c: list[tuple[int, int]], access: tuple[int, int, int]
) -> None:
    offset, size, value = access
    whole, single = made(256, writable, w1c), made(256, writable, w1c)
    whole.write(offset, size, value)
    for i in range(size):
        single.write(offset + i, 1, value >> 8 * i & 0xFF)
    assert whole.data == single.data


@pytest.mark.parametrize("size", SIZES)
@given(accesses)
def test_one_read_is_as_its_bytes_read_one_by_one(size: int, access: tuple[int, int, int]) -> None:
    config = made(size, [], [])
    offset, length, _ = access
    single = [config.read(offset + i, 1) for i in range(length)]
    assert config.read(offset, length) == int.from_bytes(bytes(single), "little")


@pytest.mark.parametrize("size", SIZES)
def test_there_is_nothing_beyond_the_end(size: int) -> None:
    config = made(size, [(0xFF, 0xFF)], [])
    assert config.read(size, 4) == 0xFFFFFFFF
    assert config.read(size - 2, 4) == 0xFFFF0000 | config.u16(size - 2)
    config.write(size, 4, 0)
    config.write(size - 1, 4, 0x01020304)
    assert len(config.data) == size


def test_only_two_sizes_exist() -> None:
    with pytest.raises(ValueError, match="256 or 4096"):
        ConfigSpace(512)


def test_identity_is_read_only() -> None:
    config = ConfigSpace()
    config.set_ids(
        0x1234,
        0x11E8,
        class_code=0x00FF00,
        revision=0x10,
        subsystem_vendor=0x1AF4,
        subsystem=0x1100,
    )
    config.set_interrupt_pin(1)
    for offset in (0x00, 0x08, 0x2C):
        config.write(offset, 4, 0xA5A5A5A5)
    config.write(PCI_INTERRUPT_LINE, 2, 0xA5A5)
    assert config.read(0x00, 4) == 0x11E81234
    assert config.read(0x08, 4) == 0x00FF0010
    assert config.read(0x2C, 4) == 0x11001AF4
    assert config.read(PCI_INTERRUPT_LINE, 1) == 0xA5
    assert config.read(PCI_INTERRUPT_PIN, 1) == 1


def test_command_has_only_its_bits() -> None:
    config = ConfigSpace()
    config.write(PCI_COMMAND, 2, 0xFFFF)
    assert config.u16(PCI_COMMAND) == 0x0547


def test_errors_in_status_are_cleared_by_writing_1() -> None:
    config = ConfigSpace()
    config.set_u16(PCI_STATUS, PCI_STATUS_DETECTED_PARITY | PCI_STATUS_INTERRUPT)
    config.write(PCI_STATUS, 2, 0)
    assert config.u16(PCI_STATUS) == PCI_STATUS_DETECTED_PARITY | PCI_STATUS_INTERRUPT
    config.write(PCI_STATUS, 2, 0xFFFF)
    assert config.u16(PCI_STATUS) == PCI_STATUS_INTERRUPT


@given(st.integers(4, 31))
def test_memory_bars_tell_their_size(log: int) -> None:
    config = ConfigSpace()
    config.set_bar(0, 1 << log)
    config.write(PCI_BASE_ADDRESS_0, 4, 0xFFFFFFFF)
    assert config.u32(PCI_BASE_ADDRESS_0) == -(1 << log) & 0xFFFFFFFF


@given(st.integers(4, 40))
def test_wide_bars_tell_their_size_in_two_registers(log: int) -> None:
    config = ConfigSpace()
    config.set_bar(2, 1 << log, wide=True, prefetchable=True)
    config.write(0x18, 4, 0xFFFFFFFF)
    config.write(0x1C, 4, 0xFFFFFFFF)
    value = config.u32(0x18) | config.u32(0x1C) << 32
    assert value & 0xF == 0xC
    assert value & ~0xF == -(1 << log) & 0xFFFFFFFF_FFFFFFFF


def test_io_bars_tell_their_size() -> None:
    config = ConfigSpace()
    config.set_bar(1, 256, io=True)
    config.write(0x14, 4, 0xFFFFFFFF)
    assert config.u32(0x14) == 0xFFFFFF01


def test_a_rom_has_an_enable_bit_and_an_address() -> None:
    config = ConfigSpace()
    config.set_rom(4096)
    config.write(PCI_ROM_ADDRESS, 4, 0xFFFFFFFF)
    assert config.u32(PCI_ROM_ADDRESS) == 0xFFFFF001


@pytest.mark.parametrize(
    ("index", "size", "io", "wide"),
    [
        (0, 8, False, False),
        (0, 3, True, False),
        (0, 4097, False, False),
        (6, 4096, False, False),
        (5, 4096, False, True),
        (-1, 4096, False, False),
    ],
)
def test_impossible_bars_are_refused(index: int, size: int, io: bool, wide: bool) -> None:
    with pytest.raises(ValueError, match="BAR"):
        ConfigSpace().set_bar(index, size, io=io, wide=wide)


def test_impossible_roms_are_refused() -> None:
    with pytest.raises(ValueError, match="ROM"):
        ConfigSpace().set_rom(1024)


def test_capabilities_form_a_chain() -> None:
    config = ConfigSpace()
    assert not config.u16(PCI_STATUS) & PCI_STATUS_CAP_LIST
    first = config.add_capability(PCI_CAP_ID_MSI, bytes(12), b"\x01")
    second = config.add_capability(PCI_CAP_ID_VNDR, bytes(6), at=0x80)
    third = config.add_capability(PCI_CAP_ID_VNDR, bytes(6))
    assert (first, second, third) == (0x40, 0x80, 0x50)
    assert [(c.id, c.offset) for c in capabilities(config.read)] == [
        (PCI_CAP_ID_MSI, 0x40),
        (PCI_CAP_ID_VNDR, 0x80),
        (PCI_CAP_ID_VNDR, 0x50),
    ]
    config.write(0x40, 4, 0xFFFFFFFF)
    assert config.u32(0x40) == 0x00018005


def test_extended_capabilities_start_at_256() -> None:
    config = ConfigSpace(4096)
    assert config.add_extended_capability(PCI_EXT_CAP_ID_DSN, 1, bytes(8)) == 0x100
    vendor = config.add_extended_capability(PCI_EXT_CAP_ID_VNDR, 2, bytes(20), at=0x200)
    config.add_extended_capability(PCI_EXT_CAP_ID_VNDR, 1, bytes(4))
    assert [(c.id, c.version, c.offset) for c in extended_capabilities(config.read)] == [
        (PCI_EXT_CAP_ID_DSN, 1, 0x100),
        (PCI_EXT_CAP_ID_VNDR, 2, vendor),
        (PCI_EXT_CAP_ID_VNDR, 1, 0x10C),
    ]


def test_capabilities_that_do_not_fit_are_refused() -> None:
    config = ConfigSpace(4096)
    with pytest.raises(ValueError, match="no room"):
        config.add_capability(PCI_CAP_ID_VNDR, bytes(200))
    with pytest.raises(ValueError, match="no room"):
        config.add_capability(PCI_CAP_ID_VNDR, bytes(2), at=0x10)
    with pytest.raises(ValueError, match="mask"):
        config.add_capability(PCI_CAP_ID_VNDR, bytes(2), bytes(3))
    with pytest.raises(ValueError, match="0x100"):
        config.add_extended_capability(PCI_EXT_CAP_ID_DSN, 1, bytes(8), at=0x200)
    with pytest.raises(ValueError, match="no room"):
        ConfigSpace(256).add_extended_capability(PCI_EXT_CAP_ID_DSN, 1, bytes(8))


@given(st.lists(st.integers(0, 60), max_size=12))
def test_capabilities_never_overlap(lengths: list[int]) -> None:
    config = ConfigSpace()
    end = 0x40
    for length in lengths:
        try:
            offset = config.add_capability(PCI_CAP_ID_VNDR, bytes(length))
        except ValueError:
            assert end + length + 2 > 256 - 3  # they start at multiples of four
            continue
        assert offset >= end
        end = offset + length + 2
