# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers, areas and doorbells: what each declaration makes of a guest's accesses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.models import Bar, Identity, Model


class Sample(Model):
    """One register of each kind."""

    identity = Identity(0x1234, 0x0001, class_code=0xFF0000)

    bar0 = Bar(0, 0x1000)
    PLAIN = bar0.register(0x00, reset=0x11223344)
    CONSTANT = bar0.register(0x04, "ro", reset=0xC0FFEE)
    COMMAND = bar0.register(0x08, "wo")
    EVENTS = bar0.register(0x0C, "w1c", reset=0xFF, writable=0x0F)
    MASKED = bar0.register(0x10, reset=0xF0, writable=0x0F)
    BYTES = bar0.register(0x14, sizes=(1, 2, 4))
    WIDE = bar0.register(0x18, width=8, sizes=(4, 8))
    WHOLE = bar0.register(0x20, width=8, sizes=(4, 8), partial=False)
    SQUARE = bar0.register(0x28)
    TINY = bar0.register(0x2C, width=1)
    BROKEN = bar0.register(0x30)
    BELL = bar0.doorbell(0x40)
    ZEROS = bar0.trapped(0x80, 0x40)
    ECHO = bar0.trapped(0x100, 0x100)
    SCRATCH = bar0.ram(0x200, 0x100)

    def __init__(self) -> None:
        super().__init__("sample")
        self.commands: list[int] = []
        self.echoes: list[tuple[int, int, int]] = []
        self.rings = 0

    @COMMAND.on_write
    def command(self, value: int) -> None:
        self.commands.append(value)

    @SQUARE.on_write
    def square(self, value: int) -> None:
        self.SQUARE = value * value

    @SQUARE.on_read
    def read_square(self) -> int:
        return self.SQUARE + 1

    @BROKEN.on_read
    def read_broken(self) -> int:
        raise ZeroDivisionError

    @BROKEN.on_write
    def write_broken(self, value: int) -> None:
        raise KeyError(value)

    @BELL.on_ring
    def ring(self, times: int) -> None:
        self.rings += times

    @ECHO.on_read
    def read_echo(self, at: int, size: int) -> int:
        return at << 8 | size

    @ECHO.on_write
    def write_echo(self, at: int, size: int, value: int) -> None:
        self.echoes.append((at, size, value))


@pytest.fixture
def model() -> Iterator[Sample]:
    with Sample() as model:
        yield model


def read(model: Model, offset: int, size: int = 4) -> int:
    return int.from_bytes(model.region_read(0, offset, size), "little")


def write(model: Model, offset: int, value: int, size: int = 4) -> None:
    model.region_write(0, offset, value.to_bytes(size, "little"))


def test_on_the_class_a_register_is_its_declaration() -> None:
    assert Sample.PLAIN.name == "PLAIN"
    assert (Sample.PLAIN.offset, Sample.PLAIN.width, Sample.PLAIN.access) == (0, 4, "rw")
    assert "PLAIN at 0x0" in repr(Sample.PLAIN)
    assert Sample.BELL.name == "BELL"
    assert [register.name for register in Sample.bar0.registers][:3] == [
        "PLAIN",
        "CONSTANT",
        "COMMAND",
    ]


def test_read_write(model: Sample) -> None:
    assert read(model, 0) == model.PLAIN == 0x11223344
    write(model, 0, 0xDEADBEEF)
    assert read(model, 0) == model.PLAIN == 0xDEADBEEF


def test_the_model_s_own_assignment_is_cut_to_the_width(model: Sample) -> None:
    model.PLAIN = -1
    assert read(model, 0) == 0xFFFFFFFF
    model.TINY = 0x1FF
    assert read(model, 0x2C, 1) == 0xFF


def test_read_only(model: Sample) -> None:
    write(model, 4, 0)
    assert read(model, 4) == 0xC0FFEE
    assert model.counters["writes to nothing"] == 1
    model.CONSTANT = 5
    assert read(model, 4) == 5


def test_write_only(model: Sample) -> None:
    write(model, 8, 7)
    write(model, 8, 9)
    assert model.commands == [7, 9]
    assert read(model, 8) == 0xFFFFFFFF
    assert model.counters["reads of nothing"] == 1


def test_write_1_to_clear(model: Sample) -> None:
    write(model, 0x0C, 0x33)
    assert read(model, 0x0C) == 0xFC


def test_writable_bits(model: Sample) -> None:
    write(model, 0x10, 0xFFFFFFFF)
    assert read(model, 0x10) == 0xFF
    write(model, 0x10, 0)
    assert read(model, 0x10) == 0xF0


def test_narrow_accesses_reach_parts(model: Sample) -> None:
    write(model, 0x14, 0x44332211)
    assert [read(model, 0x14 + i, 1) for i in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert read(model, 0x16, 2) == 0x4433
    write(model, 0x15, 0xAA, 1)
    write(model, 0x16, 0xBBCC, 2)
    assert model.BYTES == 0xBBCCAA11


def test_halves_of_a_wide_register(model: Sample) -> None:
    write(model, 0x18, 0x1122334455667788, 8)
    assert (read(model, 0x18), read(model, 0x1C)) == (0x55667788, 0x11223344)
    write(model, 0x1C, 0xAABBCCDD)
    assert read(model, 0x18, 8) == 0xAABBCCDD55667788


def test_a_register_that_is_not_partial(model: Sample) -> None:
    write(model, 0x20, 0x1122334455667788, 8)
    assert read(model, 0x20) == 0x55667788
    assert read(model, 0x24) == 0xFFFFFFFF
    write(model, 0x24, 0)
    assert read(model, 0x20, 8) == 0x1122334455667788
    write(model, 0x20, 0xAABBCCDD)
    assert read(model, 0x20, 8) == 0xAABBCCDD


@pytest.mark.parametrize("size", [1, 2, 8])
def test_sizes_that_a_register_does_not_take(model: Sample, size: int) -> None:
    write(model, 0, 0, size)
    assert model.PLAIN == 0x11223344
    assert read(model, 0, size) == (1 << 8 * size) - 1


def test_methods_take_the_place_of_the_value(model: Sample) -> None:
    write(model, 0x28, 5)
    assert model.SQUARE == 25
    assert read(model, 0x28) == 26


def test_a_method_that_raises_is_a_read_or_write_of_nothing(
    model: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert read(model, 0x30) == 0xFFFFFFFF
        write(model, 0x30, 1)
    assert model.counters["ZeroDivisionError in the model"] == 3
    assert model.counters["KeyError in the model"] == 3
    assert len(caplog.records) == 2, "each kind is logged once, however often a guest tries"


def test_a_doorbell_rings_by_writes_of_its_size(model: Sample) -> None:
    write(model, 0x40, 0x12345678)
    write(model, 0x40, 0)
    write(model, 0x40, 0, 2)
    write(model, 0x44, 0)
    assert model.rings == 2
    assert read(model, 0x40) == 0xFFFFFFFF


def test_a_trapped_area_without_methods_is_zeros(model: Sample) -> None:
    write(model, 0x80, 0xFFFFFFFF)
    assert read(model, 0x80) == 0
    assert read(model, 0xB8, 8) == 0
    assert not model.counters


def test_a_trapped_area_s_methods_see_each_access(model: Sample) -> None:
    assert read(model, 0x104) == 0x404
    assert read(model, 0x106, 2) == 0x602
    write(model, 0x1FF, 0xAB, 1)
    assert model.echoes == [(0xFF, 1, 0xAB)]


def test_ram_keeps_what_is_written(model: Sample) -> None:
    model.region_write(0, 0x201, b"anything, of any length")
    assert model.region_read(0, 0x201, 23) == b"anything, of any length"
    assert bytes(model.SCRATCH[1:9]) == b"anything"
    model.SCRATCH[0:2] = b"\x34\x12"
    assert read(model, 0x200, 2) == 0x1234


def test_accesses_are_cut_as_on_a_bus(model: Sample) -> None:
    assert model.region_read(0, 0x101, 7) == b"\1" + b"\2\2" + b"\4\4\0\0"
    model.region_write(0, 0x10C, bytes(range(12)))
    assert model.echoes == [
        (0x0C, 4, 0x03020100),
        (0x10, 8, 0x0B0A090807060504),
    ]


def test_what_is_not_declared_is_nothing(model: Sample) -> None:
    assert read(model, 0x50) == 0xFFFFFFFF
    write(model, 0x50, 0)
    # A register that takes four bytes is no half of an access of eight.
    assert read(model, 0x10, 8) == 0xFFFFFFFF_FFFFFFFF
    assert model.counters == {"reads of nothing": 2, "writes to nothing": 1}


def test_names_are_in_each_model_s_own_state() -> None:
    with Sample() as one, Sample() as other:
        write(one, 0, 1)
        one.SCRATCH[0] = 1
        assert other.PLAIN == 0x11223344
        assert other.SCRATCH[0] == 0


def test_a_derived_model_has_its_base_s_registers() -> None:
    class Derived(Sample):
        bar1 = Bar(1, 16, io=True)
        PORT = bar1.register(0, reset=3)

    with Derived() as model:
        assert read(model, 0) == 0x11223344
        assert model.region_read(1, 0, 4) == b"\3\0\0\0"


def test_contradictions_are_refused_where_they_are_declared() -> None:
    bar = Bar(0, 0x2000)
    bar.register(0, sizes=(1, 2, 4))
    bar.ram(0x1000, 0x1000, mappable=True)
    with pytest.raises(ValueError, match="declared twice"):
        bar.register(2, width=2)
    with pytest.raises(ValueError, match="declared twice"):
        bar.register(0x1004)
    with pytest.raises(ValueError, match="declared twice"):
        bar.trapped(0x1800, 4)
    with pytest.raises(ValueError, match="registers in the RAM"):
        bar.ram(0, 0x100)
    with pytest.raises(ValueError, match="whole pages"):
        bar.ram(0x800, 0x100, mappable=True)
    with pytest.raises(ValueError, match="not within"):
        bar.trapped(0x1F00, 0x200)
    with pytest.raises(ValueError, match="no access of 4 bytes at 0x12"):
        bar.register(0x12)
    with pytest.raises(ValueError, match="no access of 4 bytes at 0x2000"):
        bar.doorbell(0x2000)
