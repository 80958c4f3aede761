# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The real-time clock: time in every mode, setting it, flags, and the memory's contents."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.devices import Rtc

SECOND = 1_000_000_000
MIB = 1 << 20
GIB = 1 << 30
UTC = datetime.UTC

TIME = (0, 2, 4, 6, 7, 8, 9, 0x32)
A, B, C, D = 10, 11, 12, 13
SET, BINARY, HOURS_24 = 0x80, 0x04, 0x02


class Clock:
    """A host clock that stands still unless told."""

    def __init__(self, when: datetime.datetime) -> None:
        self.now = int(when.timestamp()) * SECOND

    def __call__(self) -> int:
        return self.now


def make(when: datetime.datetime, mode: int = HOURS_24) -> tuple[Rtc, Clock]:
    clock = Clock(when)
    rtc = Rtc(64 * MIB, clock=clock)
    put(rtc, B, mode)
    return rtc, clock


def get(rtc: Rtc, index: int) -> int:
    rtc.write(0, 1, index)
    return rtc.read(1, 1)


def put(rtc: Rtc, index: int, value: int) -> None:
    rtc.write(0, 1, index)
    rtc.write(1, 1, value)


def registers(rtc: Rtc) -> list[int]:
    return [get(rtc, index) for index in TIME]


def guest_time(rtc: Rtc) -> datetime.datetime:
    """The time as a driver reads it, by the mode in register B."""
    mode = get(rtc, B)

    def number(value: int) -> int:
        return value if mode & BINARY else (value >> 4) * 10 + (value & 15)

    second, minute, hour, _, day, month, year, century = registers(rtc)
    if mode & HOURS_24:
        hour = number(hour)
    else:
        hour = number(hour & 0x7F) % 12 + (12 if hour & 0x80 else 0)
    return datetime.datetime(
        number(century) * 100 + number(year),
        number(month),
        number(day),
        hour,
        number(minute),
        number(second),
        tzinfo=UTC,
    )


WHEN = datetime.datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (HOURS_24, [0x58, 0x59, 0x23, 5, 0x31, 0x12, 0x26, 0x20]),
        (HOURS_24 | BINARY, [58, 59, 23, 5, 31, 12, 26, 20]),
        (0, [0x58, 0x59, 0x91, 5, 0x31, 0x12, 0x26, 0x20]),
        (BINARY, [58, 59, 0x8B, 5, 31, 12, 26, 20]),
    ],
)
def test_time_in_each_mode(mode: int, expected: list[int]) -> None:
    rtc, clock = make(WHEN, mode)
    assert registers(rtc) == expected
    clock.now += 2 * SECOND
    assert guest_time(rtc) == WHEN + datetime.timedelta(seconds=2)


@pytest.mark.parametrize(("hour", "register"), [(0, 0x12), (1, 0x01), (12, 0x92), (13, 0x81)])
def test_twelve_hours(hour: int, register: int) -> None:
    rtc, _ = make(WHEN.replace(hour=hour), 0)
    assert get(rtc, 4) == register


def test_a_sunday_is_the_first_day_of_the_week() -> None:
    rtc, _ = make(datetime.datetime(2026, 11, 22, tzinfo=UTC))
    assert get(rtc, 6) == 1


@given(
    host=st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2090, 1, 1)),
    guest=st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2199, 12, 31)),
    mode=st.sampled_from([0, BINARY, HOURS_24, BINARY | HOURS_24]),
    held=st.integers(0, 3 * SECOND),
    later=st.integers(0, 400 * 86_400),
)
def test_the_guest_sets_its_time(
    host: datetime.datetime, guest: datetime.datetime, mode: int, held: int, later: int
) -> None:
    guest = guest.replace(microsecond=0, tzinfo=UTC)
    rtc, clock = make(host.replace(tzinfo=UTC), mode)

    def encode(value: int) -> int:
        return value if mode & BINARY else value // 10 << 4 | value % 10

    hour = encode(guest.hour)
    if not mode & HOURS_24:
        hour = encode((guest.hour + 11) % 12 + 1) | (0x80 if guest.hour >= 12 else 0)
    put(rtc, B, mode | SET)
    values = (guest.second, guest.minute, 0, 1, guest.day, guest.month, guest.year % 100)
    for index, value in zip(TIME, values, strict=False):
        put(rtc, index, encode(value))
    put(rtc, 4, hour)
    put(rtc, 0x32, encode(guest.year // 100))
    clock.now += held
    assert guest_time(rtc) == guest, "the clock stands while it is set"
    put(rtc, B, mode)
    assert guest_time(rtc) == guest
    clock.now += later * SECOND
    assert guest_time(rtc) == guest + datetime.timedelta(seconds=later)


def test_a_register_can_be_set_while_the_clock_runs() -> None:
    rtc, clock = make(WHEN)
    put(rtc, 2, 0x30)
    assert guest_time(rtc) == WHEN.replace(minute=30)
    clock.now += 2 * SECOND
    assert guest_time(rtc) == WHEN.replace(minute=31, second=0)


def test_switching_interrupts_on_does_not_touch_the_time() -> None:
    rtc, clock = make(WHEN)
    ticks = iter(range(clock.now, clock.now + 100 * SECOND, SECOND))
    rtc._clock = lambda: next(ticks)  # a second passes between any two looks at it
    put(rtc, B, HOURS_24 | 0x10)
    put(rtc, B, HOURS_24)
    rtc._clock = clock
    assert guest_time(rtc) == WHEN


def test_update_in_progress_is_announced() -> None:
    rtc, clock = make(WHEN)
    assert get(rtc, A) == 0x26
    clock.now += SECOND - 2_000_000
    assert get(rtc, A) == 0xA6
    put(rtc, B, HOURS_24 | SET)
    assert get(rtc, A) == 0x26, "no updates while the time is set"


def test_flags_of_register_c() -> None:
    rtc, clock = make(WHEN)
    assert get(rtc, C) == 0
    clock.now += 1_000_000
    assert get(rtc, C) == 0x40, "1,024 Hz"
    assert get(rtc, C) == 0, "reading clears"
    put(rtc, A, 0x20)
    clock.now += SECOND
    put(rtc, B, HOURS_24 | 0x10)
    assert get(rtc, C) == 0x90, "updated, and that is enabled"
    assert get(rtc, C) == 0


@pytest.mark.parametrize(("rate", "hertz"), [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)])
def test_periodic_rates(rate: int, hertz: int) -> None:
    rtc, clock = make(WHEN)
    put(rtc, A, 0x20 | rate)
    get(rtc, C)
    periods = 0
    step = SECOND // 8192 + 1
    for _ in range(0, SECOND, step):
        clock.now += step
        periods += bool(get(rtc, C) & 0x40)
    assert periods == pytest.approx(hertz, rel=0.01)


def test_read_only_registers() -> None:
    rtc, _ = make(WHEN)
    put(rtc, C, 0xFF)
    put(rtc, D, 0)
    put(rtc, A, 0xFF)
    assert (get(rtc, C), get(rtc, D), get(rtc, A)) == (0, 0x80, 0x7F)


def test_alarm_and_free_memory_are_memory() -> None:
    rtc, _ = make(WHEN)
    for index in (1, 3, 5, 0x0F, 0x40, 0x7F):
        put(rtc, index, index ^ 0xFF)
    assert [get(rtc, i) for i in (1, 3, 5, 0x0F, 0x40, 0x7F)] == [
        i ^ 0xFF for i in (1, 3, 5, 0x0F, 0x40, 0x7F)
    ]


def test_the_nmi_bit_is_no_part_of_the_index() -> None:
    rtc, _ = make(WHEN)
    rtc.write(0, 1, 0x80 | D)
    assert rtc.read(1, 1) == 0x80
    assert rtc.read(0, 1) == 0xFF, "the index can't be read"
    rtc.write(0, 2, 0x5A_40)
    assert get(rtc, 0x40) == 0x5A, "index and data in one access"


@pytest.mark.parametrize(
    ("low", "high", "extended", "above_16m", "above_4g"),
    [
        (1 * MIB, 0, 0, 0, 0),
        (8 * MIB, 0, 7 * 1024, 0, 0),
        (64 * MIB, 0, 63 * 1024, 48 * 16, 0),
        (3 * GIB, 5 * GIB, 0xFFFF, (3 * GIB - 16 * MIB) >> 16, (5 * GIB) >> 16),
        (3 * GIB, 1 << 50, 0xFFFF, (3 * GIB - 16 * MIB) >> 16, 0xFF_FFFF),
    ],
)
def test_memory_sizes(low: int, high: int, extended: int, above_16m: int, above_4g: int) -> None:
    rtc = Rtc(low, high)

    def number(*indices: int) -> int:
        return int.from_bytes(bytes(get(rtc, index) for index in indices), "little")

    assert number(0x15, 0x16) == 640
    assert number(0x17, 0x18) == number(0x30, 0x31) == extended
    assert number(0x34, 0x35) == above_16m
    assert number(0x5B, 0x5C, 0x5D) == above_4g


@given(
    st.lists(
        st.tuples(st.integers(0, 127), st.integers(0, 255), st.integers(0, 10**12)), max_size=40
    )
)
def test_whatever_a_guest_writes_can_be_read(writes: list[tuple[int, int, int]]) -> None:
    rtc, clock = make(WHEN)
    for index, value, passed in writes:
        put(rtc, index, value)
        clock.now += passed
        for other in range(128):
            assert 0 <= get(rtc, other) <= 255


def test_a_reset_keeps_what_the_battery_keeps() -> None:
    rtc, clock = make(datetime.datetime(2024, 2, 29, 12, tzinfo=UTC), BINARY | HOURS_24)
    put(rtc, 0, 30)  # seconds
    put(rtc, 0x6E, 0x5A)
    put(rtc, B, get(rtc, B) | 0x78)
    clock.now += SECOND
    rtc.reset()
    assert get(rtc, B) == BINARY | HOURS_24, "no interrupts, no square wave"
    assert get(rtc, C) == 0, "no flags"
    assert get(rtc, 0x6E) == 0x5A
    assert get(rtc, 0) == 31
