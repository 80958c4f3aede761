# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The capability walker: right chains are followed, and no chain makes it loop or raise."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_PM,
    PCI_CAPABILITY_LIST,
    PCI_EXT_CAP_ID_DSN,
    PCI_EXT_CAP_ID_VNDR,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
)
from pyvmm.vfio.pci_capabilities import (
    CapabilityHeader,
    capabilities,
    extended_capabilities,
)


def space(first: int, headers: dict[int, tuple[int, int]]) -> ConfigSpace:
    """A space whose capabilities are (id, next) at these offsets."""
    config = ConfigSpace(4096)
    config.set_u16(PCI_STATUS, PCI_STATUS_CAP_LIST)
    config.set_u8(PCI_CAPABILITY_LIST, first)
    for offset, (cap_id, following) in headers.items():
        config.set_u8(offset, cap_id)
        config.set_u8(offset + 1, following)
    return config


def test_a_chain_is_followed_in_its_order() -> None:
    config = space(0x80, {0x80: (PCI_CAP_ID_PM, 0x40), 0x40: (PCI_CAP_ID_MSI, 0)})
    assert capabilities(config.read) == [
        CapabilityHeader(PCI_CAP_ID_PM, 0x80),
        CapabilityHeader(PCI_CAP_ID_MSI, 0x40),
    ]


def test_the_low_bits_of_a_pointer_are_reserved() -> None:
    config = space(0x43, {0x40: (PCI_CAP_ID_PM, 0x51), 0x50: (PCI_CAP_ID_MSI, 0)})
    assert [c.offset for c in capabilities(config.read)] == [0x40, 0x50]


def test_without_the_status_bit_there_is_no_chain() -> None:
    config = space(0x40, {0x40: (PCI_CAP_ID_PM, 0)})
    config.set_u16(PCI_STATUS, 0)
    assert capabilities(config.read) == []


def test_a_loop_is_followed_once() -> None:
    config = space(0x40, {0x40: (PCI_CAP_ID_PM, 0x50), 0x50: (PCI_CAP_ID_MSI, 0x40)})
    assert [c.offset for c in capabilities(config.read)] == [0x40, 0x50]


def test_a_pointer_into_the_header_ends_the_chain() -> None:
    config = space(0x40, {0x40: (PCI_CAP_ID_PM, 0x10)})
    assert [c.offset for c in capabilities(config.read)] == [0x40]


def test_a_device_that_is_gone_has_none() -> None:
    assert capabilities(lambda offset, size: (1 << 8 * size) - 1) == []
    assert extended_capabilities(lambda offset, size: (1 << 8 * size) - 1) == []


def test_a_space_of_256_bytes_has_no_extended_capabilities() -> None:
    config = ConfigSpace(256)
    assert extended_capabilities(config.read) == []
    assert extended_capabilities(config.read, 256) == []


def test_the_null_capability_may_start_the_extended_chain() -> None:
    config = ConfigSpace(4096)
    config.set_u32(0x100, 0x200 << 20)
    config.set_u32(0x200, 1 << 16 | PCI_EXT_CAP_ID_DSN)
    assert extended_capabilities(config.read) == [CapabilityHeader(PCI_EXT_CAP_ID_DSN, 0x200, 1)]


def test_an_extended_loop_is_followed_once() -> None:
    config = ConfigSpace(4096)
    config.set_u32(0x100, 0x140 << 20 | 1 << 16 | PCI_EXT_CAP_ID_DSN)
    config.set_u32(0x140, 0x100 << 20 | 1 << 16 | PCI_EXT_CAP_ID_VNDR)
    assert [c.offset for c in extended_capabilities(config.read)] == [0x100, 0x140]


@given(st.integers(0, 1 << 64), st.integers(1, 40))
def test_no_contents_make_it_loop_or_raise(seed: int, links: int) -> None:
    random = Random(seed)
    config = ConfigSpace(4096)
    config.data[:] = random.randbytes(4096)
    config.set_u16(PCI_STATUS, PCI_STATUS_CAP_LIST)
    # Random bytes end a chain soon; these make long and tangled ones.
    places = [random.randrange(0x40, 0x100, 4) for _ in range(links)]
    for offset in places:
        config.set_u16(offset, random.choice(places) << 8 | PCI_CAP_ID_PM)
    places = [0x100, *(random.randrange(0x100, 0x1000, 4) for _ in range(links))]
    for offset in places:
        config.set_u32(offset, random.choice(places) << 20 | 0x10003)
    found, extended = capabilities(config.read), extended_capabilities(config.read)
    assert len({c.offset for c in found}) == len(found) <= 48
    assert all(0x40 <= c.offset < 0x100 for c in found)
    assert len({c.offset for c in extended}) == len(extended) <= 960
    assert all(0x100 <= c.offset < 0x1000 for c in extended)


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=200))
def test_reads_that_change_every_time_make_it_neither_loop_nor_raise(values: list[int]) -> None:
    """A device may answer each read anew; what is walked twice may then differ."""
    answers = iter(values * 50)

    def read(offset: int, size: int) -> int:
        return next(answers, 0) & (1 << 8 * size) - 1

    assert len(capabilities(read)) <= 48
    assert len(extended_capabilities(read)) <= 960
