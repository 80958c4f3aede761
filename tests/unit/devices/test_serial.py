# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The 16550A: registers, FIFOs, interrupts, loop-back, and the host's queue."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pyvmm.devices import SERIAL_PORTS, Serial

DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7
DLAB = 0x80
LOOP, OUT2 = 0x10, 0x08


class Line:
    """A Serial, what it sent, and each level its interrupt line has had."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.levels: list[bool] = []
        self.room_told = 0
        self.serial = Serial(self.levels.append, self._sink, self._room)

    def _sink(self, data: bytes) -> None:
        self.sent += data

    def _room(self) -> None:
        self.room_told += 1

    @property
    def level(self) -> bool:
        return bool(self.levels) and self.levels[-1]

    def read(self, offset: int) -> int:
        return self.serial.read(offset, 1)

    def write(self, offset: int, value: int) -> None:
        self.serial.write(offset, 1, value)

    def drain(self) -> bytes:
        """Read as a polling guest does."""
        got = bytearray()
        while self.read(LSR) & 1:
            got.append(self.read(DATA))
        return bytes(got)


@pytest.fixture
def line() -> Line:
    """As a driver sets it up: connected to its interrupt line."""
    line = Line()
    line.write(MCR, OUT2)
    return line


@pytest.fixture
def fifos(line: Line) -> Line:
    line.write(FCR, 0xC7)  # on, cleared, trigger level 14
    return line


# -- registers --------------------------------------------------------------------------------


def test_state_after_reset() -> None:
    line = Line()
    registers = [line.read(offset) for offset in range(SERIAL_PORTS)]
    assert registers == [0, 0, 0x01, 0, 0, 0x60, 0xB0, 0]
    assert line.levels == []


def test_divisor_latch_covers_data_and_ier(line: Line) -> None:
    line.write(IER, 0x05)
    line.write(LCR, DLAB | 3)
    line.write(DATA, 0x34)
    line.write(IER, 0x12)
    assert (line.read(DATA), line.read(IER)) == (0x34, 0x12)
    line.write(LCR, 3)
    assert (line.read(DATA), line.read(IER), line.read(LCR)) == (0, 0x05, 3)
    assert line.sent == b""


@pytest.mark.parametrize(
    ("register", "written", "read"),
    [(SCR, 0xA5, 0xA5), (MCR, 0xFF, 0x1F), (IER, 0xF0, 0x00), (LCR, 0x7F, 0x7F)],
)
def test_writable_bits(line: Line, register: int, written: int, read: int) -> None:
    line.write(register, written)
    assert line.read(register) == read


def test_status_registers_ignore_writes(line: Line) -> None:
    line.write(LSR, 0xFF)
    line.write(MSR, 0xFF)
    assert (line.read(LSR), line.read(MSR)) == (0x60, 0xB0)


def test_wide_accesses_are_split(line: Line) -> None:
    assert line.serial.read(LSR, 2) == 0xB060
    line.serial.write(MCR, 4, 0x5A_00_00_03)
    assert (line.read(MCR), line.read(SCR)) == (3, 0x5A)
    assert line.serial.read(0, 8) >> 56 == 0x5A


# -- transmitting -----------------------------------------------------------------------------


def test_what_is_written_goes_out_in_order(line: Line) -> None:
    for byte in b"hello":
        assert line.read(LSR) & 0x20
        line.write(DATA, byte)
    assert line.sent == b"hello"


def test_enabling_the_transmit_interrupt_while_empty_raises_it(line: Line) -> None:
    line.write(IER, 2)
    assert line.level
    assert line.read(IIR) == 0x02
    assert not line.level
    assert line.read(IIR) == 0x01, "reading took it back"
    line.write(IER, 2)
    assert not line.level, "it was enabled already"
    line.write(IER, 0)
    line.write(IER, 2)
    assert line.level


def test_each_byte_gone_out_is_a_new_edge(line: Line) -> None:
    """A guest that doesn't read IIR, behind an edge-triggered interrupt input."""
    line.write(IER, 2)
    for byte in b"abc":
        line.write(DATA, byte)
    assert line.levels == [True, False, True, False, True, False, True]
    line.read(IIR)
    line.write(DATA, ord("d"))
    assert line.levels[-2:] == [False, True]


def test_transmitting_without_interrupts_leaves_the_line_alone(line: Line) -> None:
    line.write(IER, 0x0D)
    line.write(DATA, 1)
    assert line.levels == []


# -- receiving --------------------------------------------------------------------------------


def test_one_byte_at_a_time_without_fifos(line: Line) -> None:
    assert line.serial.receive(b"abc") == 3
    line.write(IER, 1)
    for byte in b"abc":
        assert line.level
        assert line.read(IIR) == 0x04
        assert line.read(LSR) == 0x61
        assert line.read(DATA) == byte
    assert not line.level
    assert line.read(LSR) == 0x60
    assert line.read(DATA) == 0


@pytest.mark.parametrize(("setting", "level"), [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_trigger_levels(line: Line, setting: int, level: int) -> None:
    line.write(FCR, setting)
    line.write(IER, 1)
    line.serial.receive(bytes(level - 1))
    if level > 1:
        assert line.read(IIR) == 0xCC, "a receive timeout, since no more comes"
    line.serial.receive(b"x")
    assert line.read(IIR) == 0xC4
    assert line.level
    line.drain()
    assert line.read(IIR) == 0xC1
    assert not line.level


def test_fcr_bits_count_only_with_the_enable_bit(line: Line) -> None:
    line.write(FCR, 0xC0)
    line.serial.receive(b"ab")
    line.write(IER, 1)
    assert line.read(IIR) == 0x04


def test_turning_the_fifos_on_or_off_discards_what_the_chip_has(line: Line) -> None:
    line.serial.receive(b"ab")
    line.write(FCR, 1)
    assert line.drain() == b"b"
    line.serial.receive(b"0123456789abcdefXY")
    line.write(FCR, 0)
    assert line.drain() == b"XY"


def test_clearing_the_receiver(fifos: Line) -> None:
    fifos.serial.receive(b"0123456789abcdefXY")
    fifos.write(FCR, 0xC3)
    assert fifos.drain() == b"XY"


def test_a_burst_waits_until_the_guest_makes_room(fifos: Line) -> None:
    data = bytes(range(256)) * 16
    assert fifos.serial.receive(data) == len(data)
    assert fifos.drain() == data


def test_the_host_queue_is_bounded_and_says_when_to_go_on(fifos: Line) -> None:
    data = bytes(i % 251 for i in range(90_000))
    given = fifos.serial.receive(data)
    assert 64 << 10 <= given < len(data)
    while taken := fifos.serial.receive(data[given:]):
        given += taken
    assert given < len(data)
    assert fifos.room_told == 0
    got = bytearray()
    while not fifos.room_told:
        got.append(fifos.read(DATA))
    assert fifos.serial.receive(data[given:]) == len(data) - given
    got += fifos.drain()
    assert got == data
    assert fifos.room_told == 1


# -- loop-back and modem lines ----------------------------------------------------------------


def test_loop_back_carries_data_inside(fifos: Line) -> None:
    fifos.write(MCR, LOOP)
    fifos.serial.receive(b"from outside")
    for byte in b"inside":
        fifos.write(DATA, byte)
    assert fifos.drain() == b"inside"
    assert fifos.sent == b""
    fifos.write(MCR, 0)
    assert fifos.drain() == b"from outside"


def test_overrun_of_the_fifo_keeps_the_old(fifos: Line) -> None:
    fifos.write(MCR, LOOP)
    fifos.write(IER, 4)
    for byte in range(17):
        fifos.write(DATA, byte)
    assert fifos.read(IIR) == 0xC6
    assert fifos.read(LSR) == 0x63
    assert fifos.read(IIR) == 0xC1
    assert fifos.read(LSR) == 0x61, "reading cleared the error"
    assert fifos.drain() == bytes(range(16))


def test_overrun_without_fifos_keeps_the_new(line: Line) -> None:
    line.write(MCR, LOOP)
    line.write(DATA, 1)
    line.write(DATA, 2)
    assert line.read(LSR) == 0x63
    assert line.drain() == b"\x02"


@pytest.mark.parametrize(
    ("mcr", "msr"), [(0x0F, 0xF0), (0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80)]
)
def test_loop_back_connects_the_modem_lines(line: Line, mcr: int, msr: int) -> None:
    line.write(MCR, LOOP | mcr)
    assert line.read(MSR) & 0xF0 == msr


def test_modem_line_changes(line: Line) -> None:
    line.write(MCR, LOOP | 0x0B)  # as the lines are outside: nothing changes
    assert line.read(MSR) == 0xB0
    line.write(IER, 8)
    line.write(MCR, LOOP | 0x0F)
    assert line.read(MSR) == 0xF0, "the ring indicator counts when it ends"
    assert line.read(IIR) == 0x01
    line.write(MCR, LOOP)
    assert line.read(IIR) == 0x00
    assert line.read(MSR) == 0x0F
    assert line.read(IIR) == 0x01
    assert line.read(MSR) == 0x00


@pytest.mark.parametrize("mcr", [0, 0x07, LOOP, LOOP | OUT2])
def test_interrupts_stay_in_the_chip_without_out2(line: Line, mcr: int) -> None:
    line.write(IER, 2)
    assert line.level
    line.write(MCR, mcr)
    assert not line.level
    assert line.read(IIR) == 0x02, "a polling guest sees it all the same"
    line.write(IER, 0)
    line.write(IER, 2)
    assert not line.level
    line.write(MCR, 0x0B)
    assert line.level
    assert line.levels == [True, False, True]


def test_interrupts_come_by_priority(fifos: Line) -> None:
    fifos.write(MCR, LOOP)
    for byte in range(17):
        fifos.write(DATA, byte)
    fifos.write(IER, 0x0F)
    assert fifos.read(IIR) == 0xC6
    fifos.read(LSR)
    assert fifos.read(IIR) == 0xC4
    fifos.drain()
    assert fifos.read(IIR) == 0xC2
    assert fifos.read(IIR) == 0xC0
    fifos.read(MSR)
    assert fifos.read(IIR) == 0xC1


# -- threads ----------------------------------------------------------------------------------


def test_input_arrives_whole_while_several_threads_use_the_port() -> None:
    line = Line()
    line.write(FCR, 0xC7)
    line.write(IER, 3)
    data = bytes(i % 256 for i in range(20_000))
    writes_each = 2_000
    start = threading.Barrier(4)

    def feed() -> None:
        start.wait()
        at = 0
        while at < len(data):
            at += line.serial.receive(data[at : at + 100])

    def transmit() -> None:
        start.wait()
        for _ in range(writes_each):
            line.write(DATA, 0x55)
            line.read(IIR)

    threads = [threading.Thread(target=feed), *(threading.Thread(target=transmit) for _ in "ab")]
    for thread in threads:
        thread.start()
    start.wait()
    got = bytearray()
    while len(got) < len(data):
        got += line.drain()
    for thread in threads:
        thread.join()
    assert got == data
    assert line.sent == b"\x55" * (2 * writes_each)
    assert all(before != after for before, after in pairwise(line.levels))


# -- any sequence -----------------------------------------------------------------------------


class SerialMachine(RuleBasedStateMachine):
    """Whatever a guest does: no input is lost or reordered, and the line says what IIR says."""

    @initialize()
    def plug_in(self) -> None:
        self.line = Line()
        self.fed = 0
        self.expected = 0
        self.transmitted = bytearray()

    @property
    def polled_state(self) -> tuple[int, int]:
        return self.line.read(LCR), self.line.read(MCR)

    @rule(count=st.integers(1, 40))
    def host_sends(self, count: int) -> None:
        data = bytes((self.fed + i) % 256 for i in range(count))
        assert self.line.serial.receive(data) == count
        self.fed += count

    @precondition(lambda self: not self.line.read(LCR) & DLAB)
    @rule(count=st.integers(1, 20))
    def guest_reads(self, count: int) -> None:
        for _ in range(count):
            if not self.line.read(LSR) & 1:
                assert self.expected == self.fed or self.line.read(MCR) & LOOP
                return
            assert self.line.read(DATA) == self.expected % 256
            self.expected += 1

    @rule(value=st.integers(0, 255))
    def guest_writes_data(self, value: int) -> None:
        lcr, mcr = self.polled_state
        if mcr & LOOP:
            return  # that would put it between the host's bytes
        self.line.write(DATA, value)
        if not lcr & DLAB:
            self.transmitted.append(value)

    @rule(value=st.integers(0, 255))
    def guest_writes_ier(self, value: int) -> None:
        self.line.write(IER, value)

    @rule(value=st.sampled_from([0, DLAB, 3, 0xBF]))
    def guest_writes_lcr(self, value: int) -> None:
        self.line.write(LCR, value)

    @rule(value=st.integers(0, 255))
    def guest_writes_mcr(self, value: int) -> None:
        self.line.write(MCR, value)

    @rule(level=st.sampled_from([0x01, 0x41, 0x81, 0xC1]))
    def guest_sets_up_the_fifos(self, level: int) -> None:
        """Emptied first, so that what the chip then discards is nothing of the host's."""
        self.line.write(LCR, 0)
        self.line.write(MCR, 0)
        self.guest_reads(1 << 20)
        self.line.write(FCR, level)

    @rule(offset=st.sampled_from([IIR, LSR, MSR, SCR]))
    def guest_reads_a_register(self, offset: int) -> None:
        self.line.read(offset)

    @invariant()
    def the_line_is_as_iir_says(self) -> None:
        if not hasattr(self, "line"):
            return
        level = self.line.level
        is_connected = self.line.read(MCR) & (OUT2 | LOOP) == OUT2
        assert level == (is_connected and not self.line.read(IIR) & 1)

    @invariant()
    def output_is_what_was_written(self) -> None:
        if hasattr(self, "line"):
            assert self.line.sent == self.transmitted


TestSerialMachine = SerialMachine.TestCase


# -- reset ------------------------------------------------------------------------------------

WRITES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 255)), max_size=20)


@given(WRITES)
def test_a_reset_leaves_nothing_of_what_was_set(writes: list[tuple[int, int]]) -> None:
    line, fresh = Line(), Line()
    for offset, value in writes:
        line.write(offset, value)
    line.serial.reset()
    assert not line.level
    for offset in (LCR, MCR, SCR, IER, IIR, LSR, MSR, DATA):
        assert line.read(offset) == fresh.read(offset), offset
    for one in (line, fresh):
        one.write(LCR, DLAB)
    assert [line.read(at) for at in (DATA, IER)] == [fresh.read(at) for at in (DATA, IER)]


def test_a_reset_takes_the_interrupt_back_and_what_the_chip_had(line: Line) -> None:
    line.write(IER, 1)
    line.serial.receive(b"abc")
    assert line.levels == [True]
    line.serial.reset()
    assert line.levels == [True, False]
    assert line.read(LSR) & 1 == 0
    # What was still on its way comes to the next system.
    line.write(MCR, OUT2)
    line.write(IER, 1)
    assert line.level
    assert line.drain() == b"bc"
