# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The i8042, PM1a, debug-exit, POST-code and pvpanic ports; resets of those that have a state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.devices import I8042, PM1A_PORTS, DebugExit, PostCode, PowerManagement, Pvpanic


class Calls:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


# -- i8042 ------------------------------------------------------------------------------------


class Controller:
    """An I8042 as a guest sees it."""

    def __init__(self) -> None:
        self.reset = Calls()
        self.i8042 = I8042(self.reset)

    @property
    def status(self) -> int:
        return self.i8042.command.read(0, 1)

    def command(self, command: int, *data: int) -> None:
        self.i8042.command.write(0, 1, command)
        for value in data:
            self.send(value)

    def send(self, value: int) -> None:
        self.i8042.data.write(0, 1, value)

    def reply(self) -> int:
        assert self.status & 1, "no reply"
        value = self.i8042.data.read(0, 1)
        assert not self.status & 1
        return value


@pytest.fixture
def controller() -> Controller:
    return Controller()


def test_the_controller_is_idle_at_first(controller: Controller) -> None:
    assert controller.status == 0x14
    assert controller.i8042.data.read(0, 1) == 0


@pytest.mark.parametrize("command", [0xFE, 0xF0, 0xFC])
def test_a_pulse_on_the_reset_line(controller: Controller, command: int) -> None:
    controller.command(command)
    assert controller.reset.count == 1


@pytest.mark.parametrize("command", [0xFF, 0xF1, 0xFD, 0xEE, 0xD1, 0xAD, 0xAE, 0xA7, 0xA8, 0x00])
def test_other_commands_do_not_reset(controller: Controller, command: int) -> None:
    controller.command(command)
    assert controller.reset.count == 0
    assert not controller.status & 1


def test_reset_by_the_output_port(controller: Controller) -> None:
    controller.command(0xD0)
    port = controller.reply()
    controller.command(0xD1, port)
    assert controller.reset.count == 0
    controller.command(0xD1, port & ~1)
    assert controller.reset.count == 1


def test_the_configuration_byte(controller: Controller) -> None:
    controller.command(0x20)
    assert controller.reply() == 0x34
    controller.command(0x60, 0x47)
    controller.command(0x20)
    assert controller.reply() == 0x47


def test_self_tests(controller: Controller) -> None:
    controller.command(0xAA)
    assert controller.reply() == 0x55
    for interface in (0xAB, 0xA9):
        controller.command(interface)
        assert controller.reply() == 0x01, "clock line stuck: nothing there"


def test_nothing_is_plugged_in(controller: Controller) -> None:
    controller.send(0xFF)
    assert controller.status & 0x61 == 0x41, "timed out, from the keyboard"
    assert controller.reply() == 0xFE
    controller.command(0xD4, 0xFF)
    assert controller.status & 0x61 == 0x61, "timed out, from the AUX side"
    assert controller.reply() == 0xFE


def test_the_aux_loop_does_not_look_like_aux(controller: Controller) -> None:
    controller.command(0xD3, 0x5A)
    assert not controller.status & 0x20
    assert controller.reply() == 0x5A


def test_a_command_is_told_from_data(controller: Controller) -> None:
    controller.command(0xAE)
    assert controller.status & 8
    controller.send(0)
    assert not controller.status & 8


def test_a_command_in_place_of_data_counts(controller: Controller) -> None:
    controller.command(0x60)
    controller.command(0xAA)
    assert controller.reply() == 0x55
    controller.send(0x12)
    assert controller.reply() == 0xFE, "meant for the keyboard, not the configuration"
    controller.command(0x20)
    assert controller.reply() == 0x34


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 255)), max_size=30))
def test_the_controller_takes_anything(writes: list[tuple[bool, int]]) -> None:
    controller = Controller()
    for is_command, value in writes:
        port = controller.i8042.command if is_command else controller.i8042.data
        port.write(0, 1, value)
        assert 0 <= controller.status <= 0xFF
        assert not controller.status & 2, "input buffer full: a guest would wait"
        assert 0 <= controller.i8042.data.read(0, 1) <= 0xFF


# -- PM1a -------------------------------------------------------------------------------------

STATUS, ENABLE, CONTROL = 0, 2, 4
SLP_EN = 1 << 13
S5 = 0 << 10


@pytest.fixture
def off() -> Calls:
    return Calls()


@pytest.fixture
def pm1a(off: Calls) -> PowerManagement:
    return PowerManagement(off)


def test_entering_s5_powers_off(pm1a: PowerManagement, off: Calls) -> None:
    pm1a.write(CONTROL, 2, S5)
    assert off.count == 0, "the type alone is no request"
    pm1a.write(CONTROL, 2, S5 | SLP_EN)
    assert off.count == 1
    assert pm1a.read(CONTROL, 2) == S5 | 1, "SLP_EN reads as 0"


def test_the_high_byte_alone_will_do(pm1a: PowerManagement, off: Calls) -> None:
    pm1a.write(CONTROL + 1, 1, (S5 | SLP_EN) >> 8)
    assert off.count == 1


@pytest.mark.parametrize("sleep_type", range(1, 8))
def test_other_sleep_types_do_nothing(pm1a: PowerManagement, off: Calls, sleep_type: int) -> None:
    pm1a.write(CONTROL, 2, sleep_type << 10 | SLP_EN)
    assert off.count == 0


def test_always_in_acpi_mode(pm1a: PowerManagement) -> None:
    assert pm1a.read(CONTROL, 2) == 1
    pm1a.write(CONTROL, 2, 0)
    assert pm1a.read(CONTROL, 2) == 1


def test_events_can_be_enabled_and_never_happen(pm1a: PowerManagement) -> None:
    pm1a.write(STATUS, 4, 0x0321_FFFF)
    assert pm1a.read(STATUS, 4) == 0x0321_0000
    assert pm1a.read(ENABLE, 2) == 0x0321


@given(
    st.lists(
        st.tuples(st.integers(0, PM1A_PORTS - 1), st.sampled_from([1, 2, 4]), st.integers(0)),
        max_size=20,
    )
)
def test_pm1a_takes_anything(writes: list[tuple[int, int, int]]) -> None:
    pm1a = PowerManagement(Calls())
    for offset, size, value in writes:
        if offset + size <= PM1A_PORTS:
            pm1a.write(offset, size, value % (1 << 8 * size))
            assert pm1a.read(STATUS, 2) == 0
            assert pm1a.read(CONTROL, 2) & (SLP_EN | 1) == 1


# -- debug ports ------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "value"), [(1, 0x2A), (2, 0x1234), (4, 0xDEAD_BEEF)])
def test_debug_exit_takes_any_size(size: int, value: int) -> None:
    codes: list[int] = []
    port = DebugExit(codes.append)
    port.write(0, size, value)
    assert codes == [value]
    assert port.read(0, size) == (1 << 8 * size) - 1


def test_post_codes_are_kept() -> None:
    post = PostCode()
    assert post.read(0, 1) == 0
    post.write(0, 1, 0x55)
    assert (post.last, post.read(0, 1)) == (0x55, 0x55)


# -- pvpanic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, []), (1, [False]), (2, [True]), (3, [False]), (0xFC, []), (0xFF, [False])],
)
def test_pvpanic(value: int, told: list[bool]) -> None:
    panics: list[bool] = []
    port = Pvpanic(panics.append)
    assert port.read(0, 1) == 3, "it knows of panics and of crash kernels"
    port.write(0, 1, value)
    assert panics == told


# -- resets -----------------------------------------------------------------------------------


def test_the_controller_after_a_reset(controller: Controller) -> None:
    controller.command(0x60, 0x47)
    controller.command(0xAA)
    controller.command(0xD4)
    controller.i8042.reset()
    assert controller.status == 0x14
    assert controller.i8042.data.read(0, 1) == 0
    controller.command(0x20)
    assert controller.reply() == 0x34
    controller.send(0xFF)
    assert controller.status & 0x61 == 0x41, "no command waits for its data any more"


def test_pm1a_after_a_reset(pm1a: PowerManagement) -> None:
    pm1a.write(ENABLE, 4, 0x1C00_0321)
    pm1a.reset()
    assert [pm1a.read(at, 2) for at in (STATUS, ENABLE, CONTROL)] == [0, 0, 1]
