# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Both ways into configuration space, the reset control register, and the bridge's function."""

from __future__ import annotations

import pytest

from pyvmm.memory import AddressMap
from pyvmm.memory.layout import ECAM_BASE
from pyvmm.pci.bars import Bar
from pyvmm.pci.bus import Bus, Function
from pyvmm.pci.host_bridge import ConfigPorts, Ecam, HostBridge

ENABLE = 1 << 31
ONES = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF, 8: 0xFFFFFFFF_FFFFFFFF}


class Log(Function):
    """Notes what reaches it, and answers with the offsets of the bytes."""

    name = "log"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    @property
    def bars(self) -> tuple[Bar, ...]:
        return ()

    def config_read(self, offset: int, size: int) -> int:
        self.seen.append((offset, size))
        return int.from_bytes(bytes((offset + i) & 0xFF for i in range(size)), "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.seen.append((offset, size, value))

    def reset(self) -> None:
        self.seen.clear()


class Guest:
    """Port and memory accesses, as a vCPU makes them."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.log = Log()
        self.bus.add(HostBridge(), device=0)
        self.bus.add(Log(), device=5)
        self.bus.add(self.log, device=5, number=3)
        self.resets: list[int] = []
        self.ports, self.mmio = AddressMap("ports"), AddressMap("MMIO")
        self.config_ports = ConfigPorts(self.bus, self.resets.append)
        self.config_ports.add_to(self.ports)
        Ecam(self.bus).add_to(self.mmio)

    def inp(self, port: int, size: int) -> int:
        read, _, offset = self.ports.lookup(port, size)
        return read(offset, size)

    def outp(self, port: int, size: int, value: int) -> None:
        _, write, offset = self.ports.lookup(port, size)
        write(offset, size, value)

    def load(self, address: int, size: int) -> int:
        read, _, offset = self.mmio.lookup(address, size)
        return read(offset, size)

    def store(self, address: int, size: int, value: int) -> None:
        _, write, offset = self.mmio.lookup(address, size)
        write(offset, size, value)


HERE = ENABLE | 5 << 11 | 3 << 8 | 0x40
ECAM_HERE = ECAM_BASE | 5 << 15 | 3 << 12


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.mark.parametrize(
    ("port", "size", "value"),
    [
        (0xCFC, 4, 0x43424140),
        (0xCFC, 2, 0x4140),
        (0xCFE, 2, 0x4342),
        (0xCFD, 2, 0x4241),
        (0xCFC, 1, 0x40),
        (0xCFF, 1, 0x43),
    ],
)
def test_data_port_lanes(guest: Guest, port: int, size: int, value: int) -> None:
    guest.outp(0xCF8, 4, HERE)
    assert guest.inp(port, size) == value
    guest.log.seen.clear()
    guest.outp(port, size, value)
    if (port, size) == (0xCFD, 2):
        assert guest.log.seen == [(0x41, 1, 0x41), (0x42, 1, 0x42)]
    else:
        assert guest.log.seen == [(0x40 | port & 3, size, value)]


def test_the_address_is_a_register_to_dwords_alone(guest: Guest) -> None:
    guest.outp(0xCF8, 4, HERE)
    guest.outp(0xCF8, 1, 0x00)
    guest.outp(0xCFA, 2, 0x0000)
    guest.outp(0xCFB, 1, 0x01)
    assert guest.inp(0xCF8, 4) == HERE
    assert guest.inp(0xCF8, 2) == 0xFFFF
    assert guest.inp(0xCFA, 1) == 0xFF


def test_reserved_bits_of_the_address_are_zero(guest: Guest) -> None:
    guest.outp(0xCF8, 4, 0xFFFFFFFF)
    assert guest.inp(0xCF8, 4) == 0x80FFFFFC


def test_nothing_happens_while_the_enable_bit_is_clear(guest: Guest) -> None:
    guest.outp(0xCF8, 4, HERE & ~ENABLE)
    assert guest.inp(0xCFC, 4) == 0xFFFFFFFF
    guest.outp(0xCFC, 4, 1)
    assert guest.log.seen == []


@pytest.mark.parametrize("size", [1, 2, 4])
def test_an_absent_function_reads_as_all_ones(guest: Guest, size: int) -> None:
    guest.outp(0xCF8, 4, ENABLE | 9 << 11)
    assert guest.inp(0xCFC, size) == ONES[size]
    guest.outp(0xCFC, size, 0)


def test_an_access_over_the_end_of_the_data_port_stays_in_it(guest: Guest) -> None:
    guest.outp(0xCF8, 4, HERE)
    assert guest.inp(0xCFF, 2) == 0xFF43


def test_reset_control(guest: Guest) -> None:
    # As Linux does it: what kind first, then the reset itself.
    guest.outp(0xCF9, 1, 0x02)
    assert guest.resets == []
    assert guest.inp(0xCF9, 1) == 0x02
    guest.outp(0xCF9, 1, 0x06)
    guest.outp(0xCF9, 1, 0x0E)
    assert guest.resets == [0x06, 0x0E]
    assert guest.inp(0xCF9, 1) == 0x0A
    guest.outp(0xCF8, 4, HERE | 0x600)
    guest.outp(0xCF8, 2, 0x0600)
    assert len(guest.resets) == 2, "only bytes are for the reset control register"


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ecam_reaches_all_4096_bytes(guest: Guest, size: int) -> None:
    offset = 4096 - size
    assert guest.load(ECAM_HERE | offset, size) == int.from_bytes(
        bytes(range(256 - size, 256)), "little"
    )
    guest.store(ECAM_HERE | offset, size, 0x12)
    assert guest.log.seen == [(offset, size), (offset, size, 0x12)]


def test_ecam_cuts_eight_bytes_in_two(guest: Guest) -> None:
    assert guest.load(ECAM_HERE | 0x20, 8) == 0x27262524_23222120
    guest.store(ECAM_HERE | 0x20, 8, 0x88776655_44332211)
    assert guest.log.seen[2:] == [(0x20, 4, 0x44332211), (0x24, 4, 0x88776655)]


def test_ecam_bytewise_where_it_is_unaligned(guest: Guest) -> None:
    assert guest.load(ECAM_HERE | 0x21, 4) == 0x24232221
    assert guest.load(ECAM_HERE | 0xFFE, 4) == 0xFFFFFFFE, "the next function must not answer"


def test_ecam_where_nobody_is(guest: Guest) -> None:
    for size, ones in ONES.items():
        assert guest.load(ECAM_BASE + (255 << 20), size) == ones
        guest.store(ECAM_BASE + (255 << 20), size, 0)


def test_the_bridges_own_function(guest: Guest) -> None:
    assert guest.load(ECAM_BASE, 4) == 0x29C08086
    assert guest.load(ECAM_BASE + 8, 4) == 0x06000000
    assert guest.load(ECAM_BASE + 0x0E, 1) == 0
    assert guest.load(ECAM_BASE + 0x60, 8) == ECAM_BASE | 1
    guest.store(ECAM_BASE + 0x60, 8, 0)
    assert guest.load(ECAM_BASE + 0x60, 8) == ECAM_BASE | 1
    guest.store(ECAM_BASE + 0x10, 4, 0xFFFFFFFF)
    assert guest.load(ECAM_BASE + 0x10, 4) == 0, "it has no BARs"
    assert guest.load(ECAM_BASE + 0x100, 4) == 0xFFFFFFFF, "it has no extended space"


def test_the_ports_after_a_reset() -> None:
    guest = Guest()
    guest.outp(0xCF8, 4, HERE)
    guest.outp(0xCF9, 1, 2)
    guest.config_ports.reset()
    assert guest.inp(0xCF8, 4) == 0
    assert guest.inp(0xCF9, 1) == 0
    assert guest.inp(0xCFC, 4) == ONES[4], "no address is selected"


def test_the_bridge_after_a_reset() -> None:
    bridge = HostBridge()
    before = bytes(bridge.config.data)
    bridge.config_write(4, 2, 0)
    bridge.config_write(0x0C, 4, 0xFFFFFFFF)
    assert bytes(bridge.config.data) != before
    bridge.reset()
    assert bytes(bridge.config.data) == before
