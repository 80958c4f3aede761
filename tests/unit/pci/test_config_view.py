# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The table of whose configuration bits are whose, as masks; and hidden capabilities."""

from __future__ import annotations

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.pci.config_view import HEADER, ConfigView, Row, chain_rows, msi_rows, msix_rows
from pyvmm.uapi.pci_regs import PCI_STATUS, PCI_STATUS_CAP_LIST
from pyvmm.vfio.pci.capabilities import CapabilityHeader, capabilities


def view(*rows: Row) -> ConfigView:
    return ConfigView(ConfigSpace(), rows)


def test_a_bit_is_the_devices_unless_a_row_takes_it() -> None:
    taken = view(Row("two bits", 0x41, 2, 0x8001), Row("byte", 0x44, 1))
    assert taken.ours(0x40, 4) == 0x00800100
    assert taken.ours(0x44, 1) == 0xFF
    assert taken.ours(0x45, 1) == 0


def test_the_device_sees_writes_to_bytes_that_have_a_bit_of_it() -> None:
    some = view(Row("bit", 0x40, 1, 1), Row("byte", 0x42, 1), Row("control", 0x44, 2, told=True))
    assert list(some.told(0x40, 2)) == [(0x40, 2)]
    assert list(some.told(0x42, 1)) == []
    assert list(some.told(0x40, 4)) == [(0x40, 1), (0x41, 1), (0x43, 1)]
    assert list(some.told(0x44, 4)) == [(0x44, 4)]


def test_no_two_rows_want_the_same_bits() -> None:
    rows = (*HEADER, *msi_rows(0x50, 0x68), *msix_rows(0x70))
    taken: set[int] = set()
    for row in rows:
        bits = row.bits & (1 << 8 * row.size) - 1
        mine = {8 * row.offset + bit for bit in range(8 * row.size) if bits >> bit & 1}
        assert not taken & mine, row.what
        taken |= mine


def test_the_header() -> None:
    header = view(*HEADER)
    assert header.ours(0x00, 4) == 0, "the device's identity is its own"
    assert header.ours(0x04, 4) == 0x0407
    assert all(header.ours(0x10 + 4 * i, 4) == 0xFFFFFFFF for i in range(6))
    assert header.ours(0x30, 4) == 0xFFFFFFFF
    assert header.ours(0x3C, 4) == 0xFFFF
    assert list(header.told(0x04, 4)) == [(0x04, 4)]
    assert list(header.told(0x10, 4)) == []


def test_a_chain_without_its_hidden_ones() -> None:
    config = ConfigSpace()
    config.set_u16(PCI_STATUS, PCI_STATUS_CAP_LIST)
    chain = [
        CapabilityHeader(1, 0x40),
        CapabilityHeader(5, 0x60),
        CapabilityHeader(9, 0x50),
        CapabilityHeader(0x11, 0x80),
    ]
    for capability in chain:
        config.set_u8(capability.offset, capability.id)
    rows = chain_rows(config, chain, {0x40, 0x50})
    assert [c.offset for c in capabilities(config.read)] == [0x60, 0x80]
    assert [row.offset for row in rows] == [0x34, 0x61, 0x81]
    chain_rows(config, chain, {c.offset for c in chain})
    assert capabilities(config.read) == []
