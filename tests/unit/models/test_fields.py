# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Fields and flags of a model's registers: read, assigned and taken out of a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.models import Bar, Field, Flag, Identity, Model


class Motor(Model):
    identity = Identity(0x1234, 0x0001, class_code=0xFF0000)
    bar0 = Bar(0, 4096)

    CONTROL = bar0.register(0x00, reset=0xFF00)
    ENABLE = Flag(CONTROL, 1 << 0)
    SPEED = Field(CONTROL, 0x7 << 4)
    HIGHEST = Field(CONTROL, 0xF << 28)


def test_a_field_is_a_number_and_a_flag_a_bool() -> None:
    with Motor() as motor:
        assert (motor.ENABLE, motor.SPEED) == (False, 0)
        motor.region_write(0, 0, b"\x51\0\0\xa0")
        assert (motor.ENABLE, motor.SPEED, motor.HIGHEST) == (True, 5, 0xA)


def test_assigning_one_leaves_the_others() -> None:
    with Motor() as motor:
        motor.ENABLE = True
        motor.SPEED = 7
        motor.HIGHEST = 0xF
        assert motor.CONTROL == 0xF000FF71
        motor.ENABLE = False
        motor.SPEED = 2
        assert motor.CONTROL == 0xF000FF20
        for value in (8, -1):
            with pytest.raises(ValueError, match="doesn't fit into SPEED, mask 0x70"):
                motor.SPEED = value


@given(st.integers(0, 0xFFFFFFFF))
def test_of_a_value(value: int) -> None:
    assert Motor.SPEED.of(value) == value >> 4 & 7
    assert Motor.ENABLE.of(value) == value & 1


@pytest.mark.parametrize("mask", [0, -1, 1 << 32])
def test_masks_that_are_none(mask: int) -> None:
    with pytest.raises(ValueError, match="is no mask for the 4 bytes of a register"):
        Field(Motor.CONTROL, mask)
    with pytest.raises(ValueError, match="is no bit of the 4 bytes of a register"):
        Flag(Motor.CONTROL, mask)
    with pytest.raises(ValueError, match="is no bit"):
        Flag(Motor.CONTROL, 3)
