# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The bus: who may be where, and which function an access of any size and alignment reaches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.bars import Bar
from pyvmm.pci.bus import Bus, Function, bdf, bdf_name
from pyvmm.pci.errors import BusConflict
from pyvmm.pci.pins import intx_gsi, swizzle
from tests.unit.pci.functions import behind_port, reset_all

ROOT = Path(__file__).resolve().parents[3]


class Bytes(Function):
    """A function of 4096 bytes that insists on what a bus must give it."""

    def __init__(self, name: str = "bytes") -> None:
        self.name = name
        self.data = bytearray(i * 7 & 0xFF for i in range(4096))

    @property
    def bars(self) -> tuple[Bar, ...]:
        return ()

    def config_read(self, offset: int, size: int) -> int:
        assert size in (1, 2, 4)
        assert offset % size == 0
        assert offset + size <= 4096
        return int.from_bytes(self.data[offset : offset + size], "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        assert size in (1, 2, 4)
        assert offset % size == 0
        assert offset + size <= 4096
        self.data[offset : offset + size] = value.to_bytes(size, "little")

    def reset(self) -> None:
        self.data[:] = bytes(4096)


def test_addresses_are_named_as_lspci_does() -> None:
    assert bdf(0x3A, 0x1F, 7) == 0x3AFF
    assert bdf_name(0x3AFF) == "3a:1f.7"


@pytest.mark.parametrize("where", [(256, 0, 0), (-1, 0, 0), (0, 32, 0), (0, 0, 8)])
def test_numbers_that_pci_does_not_have(where: tuple[int, int, int]) -> None:
    with pytest.raises(BusConflict, match="no PCI address"):
        bdf(*where)


def test_functions_are_reached_at_every_address() -> None:
    bus = Bus()
    first, last = Bytes(), Bytes()
    bus.add(last, device=31)
    bus.add(first, device=0)
    last.data[0] = 0x99
    assert bus.config_read(bdf(0, 31), 0, 1) == 0x99
    assert (first.bdf, last.bdf) == (0, 0xF8)
    assert bus.functions == (first, last)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_nobody_answers_with_all_ones(size: int) -> None:
    bus = Bus()
    bus.config_write(0x18, 4, size, 0)
    assert bus.config_read(0x18, 4, size) == (1 << 8 * size) - 1


def test_two_functions_at_one_address() -> None:
    bus = Bus()
    bus.add(Bytes("edu"), device=4)
    with pytest.raises(BusConflict, match=r"nvme can't be at 00:04.0, where edu is"):
        bus.add(Bytes("nvme"), device=4)


def test_a_function_without_function_0_would_be_invisible() -> None:
    bus = Bus()
    with pytest.raises(BusConflict, match=r"00:04.3 would be invisible.* no function 00:04.0"):
        bus.add(Bytes(), device=4, number=3)
    assert bus.functions == ()


def test_the_multifunction_bit_is_the_buss() -> None:
    bus = Bus()
    one, two, single = Bytes(), Bytes(), Bytes()
    bus.add(one, device=4)
    bus.add(single, device=5)
    for function in (one, two, single):
        function.data[0x0C:0x10] = 0x11, 0x22, 0x80, 0x33
    assert bus.config_read(one.bdf, 0x0E, 1) == 0x00
    bus.add(two, device=4, number=6)
    assert bus.config_read(one.bdf, 0x0E, 1) == 0x80
    assert bus.config_read(two.bdf, 0x0C, 4) == 0x33802211
    assert bus.config_read(single.bdf, 0x0E, 2) == 0x3300
    assert bus.config_read(single.bdf, 0x0C, 4) == 0x33002211
    single.data[0x0C:0x10] = b"\xff" * 4
    assert bus.config_read(single.bdf, 0x0E, 1) == 0xFF, "it has gone"


def test_what_is_behind_a_port_is_on_a_bus_of_its_own() -> None:
    bus = Bus()
    function, other = Bytes(), Bytes("other")
    port = behind_port(bus, function, other, device=6)
    assert bus.functions == (port,)
    assert bus.bridges == (port,)
    assert port.secondary.functions == (function, other)
    assert function.multifunction
    assert not port.multifunction
    with pytest.raises(BusConflict, match=r"behind root port 1 there is device 0 alone"):
        port.secondary.add(Bytes(), device=1)


def test_reset_reaches_what_is_behind_a_port() -> None:
    bus = Bus()
    near, far = Bytes(), Bytes()
    bus.add(near, device=1)
    behind_port(bus, far, device=2)
    reset_all(bus)
    assert near.data == far.data == bytes(4096)


@pytest.mark.parametrize("pin", [1, 2, 3, 4])
@pytest.mark.parametrize("device", [1, 2, 3, 30, 31])
def test_pins_behind_a_port_are_the_ports_own(device: int, pin: int) -> None:
    """Device 0's are not turned; as a guest reckons from _PRT, which has bus 0 alone."""
    bus = Bus()
    port = behind_port(bus, device=device)
    assert port.secondary.intx_gsi(0, pin) == bus.intx_gsi(device, pin) == intx_gsi(device, pin)
    assert swizzle(0, pin) == pin
    assert [swizzle(at, pin) for at in range(4)] == [(pin - 1 + at) % 4 + 1 for at in range(4)]


@given(offset=st.integers(0, 4200), size=st.sampled_from([1, 2, 4, 8]), value=st.integers(0))
def test_any_access_is_that_of_its_bytes(offset: int, size: int, value: int) -> None:
    value &= (1 << 8 * size) - 1
    bus = Bus()
    function = Bytes()
    bus.add(function, device=1)
    expected = (bytes(function.data) + b"\xff" * 256)[offset : offset + size]
    if not offset <= 0x0E < offset + size:
        assert bus.config_read(8, offset, size) == int.from_bytes(expected, "little")
    model = bytearray(function.data)
    written = value.to_bytes(size, "little")[: max(0, 4096 - offset)]
    model[offset : offset + len(written)] = written
    bus.config_write(8, offset, size, value)
    assert function.data == model


def test_the_start_up_path_stays_lean() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import pyvmm.pci.bus, pyvmm.pci.host_bridge, pyvmm.pci.allocator
heavy = {{"typing", "re", "dataclasses", "inspect", "logging", "socket"}}
print(*sorted(heavy & sys.modules.keys()))
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""
