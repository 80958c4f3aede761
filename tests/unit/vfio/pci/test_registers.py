# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers by name, and their fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import BadAccess, Field, Flag, PciDevice, Register, RegisterMap
from pyvmm.vfio.pci import Window, named_registers


class Memory(Window):
    """Words of a bytearray."""

    def __init__(self, size: int) -> None:
        super().__init__("memory", size)
        self.memory = bytearray(size)
        self.accesses = 0

    def load(self, offset: int, width: int) -> int:
        self.accesses += 1
        return int.from_bytes(self.memory[offset : offset + width], "little")

    def store(self, offset: int, width: int, value: int) -> None:
        self.accesses += 1
        self.memory[offset : offset + width] = value.to_bytes(width, "little")


class Nic(RegisterMap):
    status = Register(0x08, 2, write_1_to_clear=0xC000)
    speed = Field(status, 0x0030)
    link = Flag(status, 0x0001)
    error = Flag(status, 0x4000)
    control = Register(0x00)
    far = Register(0x3C)


@pytest.fixture
def memory() -> Memory:
    return Memory(0x40)


@pytest.fixture
def nic(memory: Memory) -> Nic:
    return Nic(memory, 0x10)


def test_a_register_is_one_access(nic: Nic, memory: Memory) -> None:
    nic.control = 0x12345678
    assert memory.memory[0x10:0x14] == bytes.fromhex("78563412")
    assert nic.control == 0x12345678
    assert memory.accesses == 2


def test_fields_are_read_in_place(nic: Nic) -> None:
    nic.status = 0x4021
    assert nic.speed == 2
    assert nic.link is True
    assert nic.error is True
    assert Nic.speed.of(0x4010) == 1
    assert Nic.link.of(0x4010) is False


def test_setting_a_field_keeps_the_others_and_clears_nothing(nic: Nic) -> None:
    nic.status = 0xC001
    nic.speed = 3
    assert nic.status == 0x0031  # as written: the device takes 0 for "leave it"


def test_setting_a_flag_that_is_cleared_by_1_writes_that_1_only(nic: Nic) -> None:
    nic.status = 0xC031
    nic.error = True
    assert nic.status == 0x4031


@given(st.integers(-5, 20))
def test_a_field_takes_what_fits(value: int) -> None:
    nic = Nic(Memory(0x40))
    if 0 <= value < 4:
        nic.speed = value
        assert nic.speed == value
    else:
        with pytest.raises(ValueError, match="doesn't fit"):
            nic.speed = value
        assert nic.status == 0


def test_registers_know_their_fields() -> None:
    assert list(Nic.status.fields) == ["speed", "link", "error"]
    assert Nic.status.fields["speed"] is Nic.speed


def test_registers_are_listed_by_offset_as_far_as_they_are_there(nic: Nic, memory: Memory) -> None:
    assert [name for name, _ in named_registers(nic)] == ["control", "status"]
    assert [name for name, _ in named_registers(Nic(memory))] == ["control", "status", "far"]
    assert memory.accesses == 0


def test_registers_outside_of_the_window_are_not_reached(nic: Nic) -> None:
    with pytest.raises(BadAccess):
        nic.far  # noqa: B018


@pytest.mark.parametrize(("base", "size"), [(-4, None), (2, None), (0x44, None), (0x30, 0x14)])
def test_a_map_must_lie_in_its_window(memory: Memory, base: int, size: int | None) -> None:
    with pytest.raises(ValueError, match="memory has no"):
        Nic(memory, base, size)


def test_a_name_that_there_is_not(dev: PciDevice) -> None:
    with pytest.raises(AttributeError, match="Config has no register 'bus_mastr'"):
        dev.config.bus_mastr = True  # type: ignore[attr-defined]
    (capability, *_) = dev.config.capabilities
    with pytest.raises(AttributeError, match="has no register 'stat'"):
        capability.stat = 1  # type: ignore[attr-defined]


def test_other_attributes_are_declared(dev: PciDevice) -> None:
    class Counted(RegisterMap):
        count: int = 0
        label: str

    registers = Counted(dev.bars[0])
    registers.count += 1
    registers.label = "one"
    assert (registers.count, registers.label) == (1, "one")
