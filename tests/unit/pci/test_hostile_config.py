# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Configuration spaces that are corrupt, and guests that write anything anywhere, by property."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from pyvmm.pci.allocator import Windows, place
from pyvmm.pci.errors import BadDevice, NoRoom
from pyvmm.vfio.pci_capabilities import capabilities, extended_capabilities
from tests.unit.pci.conftest import (
    DEVICE_CONTROL,
    EXPRESS_AT,
    INTEGRATED,
    LEGACY,
    PM_CONTROL,
    Setting,
    make_express_device,
)
from tests.unit.pci.fake_device import CONFIG, FakeDevice

TYPES = (0, LEGACY, INTEGRATED)
EXTENDED = [(1, 0x100), (0xE, 0x150), (0x10, 0x160), (3, 0x1A0), (0xD, 0x1B0), (0xB, 0x1C0)]
IDS = [0, 1, 3, 5, 7, 9, 0x10, 0x11, 0x13, 0x14, 0xFF]
EXTENDED_IDS = [0, 1, 2, 3, 0xB, 0xD, 0xE, 0xF, 0x10, 0x15, 0x17, 0x19, 0x23, 0x31, 0xFFFF]

Access = tuple[int, int, int]
"""Offset, size, value."""


def accesses(offsets: st.SearchStrategy[int]) -> st.SearchStrategy[Access]:
    def aligned(offset: int, size: int, value: int) -> Access:
        return offset & -size, size, value & (1 << 8 * size) - 1

    values = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 0xFFFFFFFF, 0x8000]))
    return st.builds(aligned, offsets, st.sampled_from([1, 2, 4]), values)


class Device(FakeDevice):
    """Its status is a status: nobody can set a bit of it."""

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        status = self.config[STATUS]
        super().region_write(index, offset, data)
        if index == CONFIG:
            self.config[STATUS] = status


STATUS = slice(6, 8)
ANYWHERE = st.one_of(st.integers(0, 0x3F), st.integers(0x40, 0xFF), st.integers(0x100, 0xFFF))


@contextmanager
def running(device: FakeDevice, bus: int) -> Iterator[Setting | None]:
    """A machine with the device, that has been reset; None if the device can't be assigned."""
    try:
        setting = Setting(device, behind=bool(bus))
    except BadDevice:
        yield None
        return
    try:
        place(setting.bus.functions, Windows(16 << 20, 40))
        setting.function.reset()
        yield setting
    except NoRoom:
        yield None
    finally:
        setting.close()


def chains(setting: Setting) -> object:
    return capabilities(setting.read), extended_capabilities(setting.read)


Corruption = list[tuple[int, int]]
"""(offset, byte) pairs."""

CORRUPTION: st.SearchStrategy[Corruption] = st.lists(
    st.one_of(
        # Pointers and ids, of both chains.
        st.tuples(st.sampled_from([0x34, *range(0x40, 0x100, 16)]), st.sampled_from(IDS)),
        st.tuples(st.sampled_from([0x34, *range(0x41, 0x100, 16)]), st.integers(0, 255)),
        st.tuples(st.sampled_from([at for _, at in EXTENDED]), st.sampled_from(EXTENDED_IDS)),
        st.tuples(st.sampled_from([at + 2 for _, at in EXTENDED]), st.integers(0, 255)),
        st.tuples(st.sampled_from([at + 3 for _, at in EXTENDED]), st.integers(0x10, 0x20)),
        st.tuples(st.integers(4, 0x200), st.integers(0, 255)),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(
    corruption=CORRUPTION,
    type=st.sampled_from(TYPES),
    bus=st.integers(0, 1),
    size=st.sampled_from([256, 4096]),
    writes=st.lists(accesses(ANYWHERE), max_size=20),
)
def test_what_is_fixed_stays_fixed(
    corruption: Corruption, type: int, bus: int, size: int, writes: list[Access]
) -> None:
    device = make_express_device(Device, type=type, extended=EXTENDED)
    for offset, byte in corruption:
        device.config[offset : offset + 1] = bytes([byte & 0xFF])
    del device.config[size:]
    with running(device, bus) as setting:
        if setting is None:
            return
        before = chains(setting)
        fixed = fixed_bits(setting)
        first = {at: setting.read(at, 4) & bits for at, bits in fixed.items()}
        had_flr = device.config[DEVICE_CONTROL + 1] & 0x80
        for offset, length, value in writes:
            setting.write(offset, length, value)
            assert 0 <= setting.read(offset, length) < 1 << 8 * length
        assert chains(setting) == before, "no guest is led elsewhere"
        assert {at: setting.read(at, 4) & bits for at, bits in fixed.items()} == first
        if 0x10 in {kind for kind, at, _ in capabilities(setting.read) if at == EXPRESS_AT}:
            assert device.config[DEVICE_CONTROL + 1] & 0x80 <= had_flr, "it is for us alone"
        assert setting.function.guard.gone is None
        assert setting.function.guard.counts.keys() <= {"BARs on top of something else"}
        setting.function.reset()
        assert chains(setting) == before


def fixed_bits(setting: Setting) -> dict[int, int]:
    """The bits that are ours and that no guest can change, by the offset of their dword."""
    view = setting.function._view
    found = {}
    for at in range(0, 0x200, 4):
        part = slice(at, at + 4)
        masks = view.config._writable[part], view.config._write_1_to_clear[part]
        bits = view.ours(at, 4)
        for mask in masks:
            bits &= ~int.from_bytes(mask, "little")
        if bits:
            found[at] = bits
    assert len(found) > 7
    return found


BURST = st.tuples(st.integers(0, 0x7F).map(lambda n: 4 * n), st.integers(0, 0xFFFFFFFF))
# As one write, as two, and as four; bytes in either order.
WIDTHS: list[list[tuple[int, int]]] = [
    [(0, 4)],
    [(0, 2), (2, 2)],
    [(2, 2), (0, 2)],
    [(0, 1), (1, 1), (2, 1), (3, 1)],
    [(3, 1), (2, 1), (1, 1), (0, 1)],
    [(0, 1), (1, 1), (2, 2)],
]


@settings(max_examples=60, deadline=None)
@given(writes=st.lists(BURST, min_size=1, max_size=4), bus=st.integers(0, 1))
def test_by_bytes_words_or_dwords_it_is_the_same(writes: list[tuple[int, int]], bus: int) -> None:
    seen: list[tuple[bytes, list[int], list[tuple[int, int]]]] = []
    for pieces in WIDTHS:
        device = make_express_device(Device, extended=EXTENDED)
        device.add_capability(0xE8, b"\x13\0\6\3\0\0")
        with running(device, bus) as setting:
            assert setting is not None
            for offset, value in writes:
                for at, size in pieces:
                    part = value >> 8 * at & (1 << 8 * size) - 1
                    setting.write(offset + at, size, part)
            shown = [setting.read(at, 4) for at in range(0, 0x200, 4)]
            places = [(bar.index, bar.decoded() or 0) for bar in setting.function.bars]
            # Of BARs the device is told only once it decodes them.
            told = bytes(device.config[:0x10] + device.config[0x34:])
            seen.append((told, shown, places))
    assert all(each == seen[0] for each in seen[1:])


@settings(max_examples=60, deadline=None)
@given(offset=ANYWHERE, bus=st.integers(0, 1), type=st.sampled_from(TYPES))
def test_by_bytes_words_or_dwords_the_same_is_read(offset: int, bus: int, type: int) -> None:
    with running(make_express_device(Device, type=type, extended=EXTENDED), bus) as setting:
        assert setting is not None
        offset &= ~3
        whole = setting.read(offset, 4)
        for size in (1, 2):
            parts = [setting.read(offset + at, size) << 8 * at for at in range(0, 4, size)]
            assert sum(parts) == whole


@settings(max_examples=40, deadline=None)
@given(writes=st.lists(accesses(ANYWHERE), max_size=30))
def test_a_device_sees_nothing_that_is_withheld(writes: list[Access]) -> None:
    """Whatever the guest writes: capability headers, link control, and what is hidden."""
    device = make_express_device(Device, extended=EXTENDED)
    withheld = {*range(4), *range(8, 12), 0xE, 0xF, *range(0x28, 0x30), 0x34, *range(0x3C, 0x40)}
    withheld |= {at + i for at in (0x40, 0x50, 0x70, 0x90, 0xA0) for i in range(2)}
    withheld |= {at + i for _, at in EXTENDED for i in range(4)}
    withheld |= {*range(0xB0, 0xC0), *range(0x150, 0x158), *range(0x160, 0x1A0), 0x1B6, 0x1B7}
    with running(device, 1) as setting:
        assert setting is not None
        device.accesses.clear()
        for offset, size, value in writes:
            setting.write(offset, size, value)
        for what, region, offset, *rest in device.accesses:
            if what == "write" and region == CONFIG:
                value, size = rest
                assert not withheld & set(range(offset, offset + size))
                if offset <= PM_CONTROL < offset + size:
                    assert not value >> 8 * (PM_CONTROL - offset) & 0x8100
