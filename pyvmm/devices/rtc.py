# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Rtc: the MC146818 real-time clock with its CMOS memory, on ports 0x70 and 0x71.

Source: the MC146818A data sheet (Motorola, 1984), and for the memory's contents what PC
firmware reads there. The guest's time is the host's UTC plus what the guest has set it ahead.
No interrupt is wired: alarm, periodic and update flags are for polling, and the alarm, which
nobody polls, never goes off.
"""

from __future__ import annotations

import threading
import time

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RTC_PORTS = 2

_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR = 0, 2, 4, 6, 7, 8, 9
_A, _B, _C, _D = 10, 11, 12, 13
_EQUIPMENT = 0x14
_BASE_MEMORY = 0x15
_EXTENDED_MEMORY = (0x17, 0x30)
_MEMORY_ABOVE_16M = 0x34
_CENTURY = 0x32
_MEMORY_ABOVE_4G = 0x5B

_TIME = frozenset((_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR, _CENTURY))

_A_UPDATING = 0x80
_A_RATE = 0x0F
_B_SET, _B_BINARY, _B_24_HOURS = 0x80, 0x04, 0x02
_C_REQUEST, _C_PERIODIC, _C_UPDATED = 0x80, 0x40, 0x10
_C_ENABLES = 0x70
_B_AT_RESET = 0x87  # what a reset leaves of B: neither interrupts nor the square wave
_D_VALID = 0x80
_PM = 0x80

_SECOND = 1_000_000_000
# The update cycle takes 1,984 us and is announced 244 us before.
_UPDATE_BEGINS = _SECOND - (1984 + 244) * 1000

_MIB = 1 << 20
_GIB = 1 << 30


class Rtc(ByteRegisters):
    """The clock and 128 bytes of memory. Safe from any thread.

    low_ram and high_ram are bytes of RAM below and above 4 GiB, which firmware reads from the
    memory. clock gives the host's time in nanoseconds since 1970, UTC.
    """

    def __init__(
        self, low_ram: int, high_ram: int = 0, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ahead = 0  # seconds
        self._index = 0
        self._flags_read = clock()
        memory = bytearray(128)
        memory[_A] = 0x26  # 32,768 Hz time base, 1,024 Hz periodic rate
        memory[_B] = _B_24_HOURS
        memory[_D] = _D_VALID
        memory[_EQUIPMENT] = 0x02  # an FPU
        _put(memory, _BASE_MEMORY, 2, 640)
        for at in _EXTENDED_MEMORY:
            _put(memory, at, 2, max(0, low_ram - _MIB) >> 10)
        _put(memory, _MEMORY_ABOVE_16M, 2, max(0, low_ram - 16 * _MIB) >> 16)
        _put(memory, _MEMORY_ABOVE_4G, 3, high_ram >> 16)
        self._memory = memory

    def reset(self) -> None:
        """The chip's reset: time, settings and memory stay, which the battery keeps."""
        with self._lock:
            self._index = 0
            self._flags_read = self._clock()
            self._memory[_B] &= _B_AT_RESET

    def read_byte(self, offset: int) -> int:
        if offset == 0:
            return 0xFF  # the index can't be read
        with self._lock:
            index = self._index
            if index in _TIME:
                self._latch(self._now())
            if index == _A:
                return self._memory[_A] | self._updating()
            if index == _C:
                return self._take_flags()
            return self._memory[index]

    def write_byte(self, offset: int, value: int) -> None:
        with self._lock:
            if offset == 0:
                # Bit 7 masks NMIs, of which this machine's platform has none.
                self._index = value & 0x7F
            else:
                self._write_memory(self._index, value)

    def _write_memory(self, index: int, value: int) -> None:
        memory = self._memory
        now = self._now()
        if index in _TIME:
            self._latch(now)
            memory[index] = value
            self._set(now)
        elif index == _A:
            memory[_A] = value & 0x7F
        elif index == _B:
            self._latch(now)
            held, memory[_B] = memory[_B] & _B_SET, value
            if held:
                self._set(now)
        elif index not in (_C, _D):
            memory[index] = value

    # -- time ---------------------------------------------------------------------------------

    def _now(self) -> int:
        """The host's time in seconds."""
        return self._clock() // _SECOND

    def _latch(self, now: int) -> None:
        """Bring the time registers up to date, unless the guest holds them to set them."""
        memory = self._memory
        if memory[_B] & _B_SET:
            return
        guest = time.gmtime(now + self._ahead)
        memory[_SECONDS] = self._encode(guest.tm_sec)
        memory[_MINUTES] = self._encode(guest.tm_min)
        memory[_HOURS] = self._encode_hour(guest.tm_hour)
        memory[_WEEKDAY] = self._encode((guest.tm_wday + 1) % 7 + 1)  # Sunday is 1
        memory[_DAY] = self._encode(guest.tm_mday)
        memory[_MONTH] = self._encode(guest.tm_mon)
        memory[_YEAR] = self._encode(guest.tm_year % 100)
        memory[_CENTURY] = self._encode(guest.tm_year // 100 % 100)

    def _set(self, now: int) -> None:
        """Go on from what the time registers say, unless the guest still holds them."""
        memory = self._memory
        if memory[_B] & _B_SET:
            return
        days = _days(
            self._decode(memory[_CENTURY]) * 100 + self._decode(memory[_YEAR]),
            self._decode(memory[_MONTH]),
            self._decode(memory[_DAY]),
        )
        seconds = (
            days * 86_400
            + self._decode_hour(memory[_HOURS]) * 3600
            + self._decode(memory[_MINUTES]) * 60
            + self._decode(memory[_SECONDS])
        )
        self._ahead = seconds - now

    def _encode(self, value: int) -> int:
        if self._memory[_B] & _B_BINARY:
            return value
        return value // 10 << 4 | value % 10

    def _decode(self, value: int) -> int:
        if self._memory[_B] & _B_BINARY:
            return value
        return (value >> 4) * 10 + (value & 0x0F)

    def _encode_hour(self, hour: int) -> int:
        if self._memory[_B] & _B_24_HOURS:
            return self._encode(hour)
        return self._encode((hour + 11) % 12 + 1) | (_PM if hour >= 12 else 0)

    def _decode_hour(self, value: int) -> int:
        if self._memory[_B] & _B_24_HOURS:
            return self._decode(value)
        return self._decode(value & ~_PM) % 12 + (12 if value & _PM else 0)

    # -- flags --------------------------------------------------------------------------------

    def _updating(self) -> int:
        if self._memory[_B] & _B_SET or self._clock() % _SECOND < _UPDATE_BEGINS:
            return 0
        return _A_UPDATING

    def _take_flags(self) -> int:
        """Register C: what has happened since it was read last."""
        now, last = self._clock(), self._flags_read
        self._flags_read = now
        memory = self._memory
        flags = 0
        if now // _SECOND != last // _SECOND and not memory[_B] & _B_SET:
            flags |= _C_UPDATED
        rate = memory[_A] & _A_RATE
        if rate:
            if rate < 3:  # rates 1 and 2 are those of 8 and 9
                rate += 7
            hertz = 65_536 >> rate
            if now * hertz // _SECOND != last * hertz // _SECOND:
                flags |= _C_PERIODIC
        if flags & memory[_B] & _C_ENABLES:
            flags |= _C_REQUEST
        return flags


def _put(memory: bytearray, at: int, size: int, value: int) -> None:
    """Store value, or the largest that fits."""
    memory[at : at + size] = min(value, (1 << 8 * size) - 1).to_bytes(size, "little")


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar; takes any numbers.

    The year is counted from March, so that the leap day is its last.
    """
    months = year * 12 + month - 3
    year, month = divmod(months, 12)
    leap_days = year // 4 - year // 100 + year // 400
    return year * 365 + leap_days + (153 * month + 2) // 5 + day - 1 - 719_468
