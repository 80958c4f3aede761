# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Serial: a 16550A UART.

Source: the PC16550D data sheet (National Semiconductor, 1995). The line has no speed: what the
guest transmits is out at once, and the four character times after which the chip reports a
receive timeout have always passed. Nor has it noise: parity and framing errors don't happen,
and a break is not carried. As on a PC, OUT2 connects the chip to its interrupt line, and in
loop-back it is off: Linux tries out interrupts by IIR, before it has them delivered, and takes the
chip for a broken one if a handler on another processor gets there first.
"""

from __future__ import annotations

import threading
from collections import deque

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SERIAL_PORTS = 8
"""How many ports the chip takes, from its base."""

_IER_RECEIVED, _IER_TRANSMIT, _IER_LINE, _IER_MODEM = 1, 2, 4, 8

# Interrupt identification, in order of priority; each but the last has bit 0 clear.
_IIR_LINE, _IIR_RECEIVED, _IIR_TIMEOUT, _IIR_TRANSMIT, _IIR_MODEM = 6, 4, 12, 2, 0
_IIR_NONE = 1
_IIR_FIFOS = 0xC0

_FCR_ENABLE, _FCR_CLEAR_RECEIVER = 1, 2
_TRIGGER_LEVELS = (1, 4, 8, 14)

_LCR_DIVISOR_LATCH = 0x80

_MCR_DTR, _MCR_RTS, _MCR_OUT1, _MCR_OUT2, _MCR_LOOP = 1, 2, 4, 8, 0x10

_CONNECTION = _MCR_OUT2 | _MCR_LOOP

_LSR_DATA_READY, _LSR_OVERRUN, _LSR_THR_EMPTY, _LSR_IDLE = 1, 2, 0x20, 0x40

_MSR_CHANGES = 0x0F
_MSR_RI_ENDED = 4
_MSR_CTS, _MSR_DSR, _MSR_RI, _MSR_DCD = 0x10, 0x20, 0x40, 0x80

_FIFO_SIZE = 16
_HOST_QUEUE_LIMIT = 64 << 10


class Serial(ByteRegisters):
    """The UART between a guest and the host's side of the line. Safe from any thread.

    irq is told the level of the interrupt line whenever it changes; sink gets what the guest
    transmits, on the thread of the vCPU that wrote, so from several at once. Input waits in
    a queue on the host's side until the guest makes room in the chip: nothing is lost on the
    way, unless the guest itself discards what the chip has (FCR). room, if given, is called
    when a receive() that could not take all may be tried again.
    """

    def __init__(
        self,
        irq: Callable[[bool], None],
        sink: Callable[[bytes], None],
        room: Callable[[], None] | None = None,
    ) -> None:
        self._irq = irq
        self._sink = sink
        self._room = room
        # Held while irq is told, so that the line's levels arrive in order; never while sink
        # is, which may take its time.
        self._lock = threading.Lock()
        self._level = False
        self._queue = bytearray()
        self._refused = False
        self._power_on()
        self._readers = (
            self._read_data,
            self._read_ier,
            self._read_iir,
            lambda: self._lcr,
            lambda: self._mcr,
            self._read_lsr,
            self._read_msr,
            lambda: self._scratch,
        )
        self._writers = (
            self._write_data,
            self._write_ier,
            self._write_fcr,
            self._write_lcr,
            self._write_mcr,
            self._write_nothing,
            self._write_nothing,
            self._write_scratch,
        )

    def _power_on(self) -> None:
        self._received: deque[int] = deque()
        self._overrun = False
        self._transmit_pending = False
        self._ier = 0
        self._fcr = 0
        self._lcr = 0
        self._mcr = 0
        self._msr = _MSR_CTS | _MSR_DSR | _MSR_DCD
        self._scratch = 0
        self._divisor = 12  # 9,600 baud, as firmware leaves it

    def reset(self) -> None:
        """The chip as at power-on, and its interrupt line down.

        What the chip had received is lost; what waits on the host's side is still to come.
        """
        with self._lock:
            self._power_on()
            self._update_line()

    # -- the host's side ----------------------------------------------------------------------

    def receive(self, data: bytes) -> int:
        """Take input for the guest; returns how many bytes of data were taken.

        Fewer than len(data) only where 64 KiB are waiting already.
        """
        with self._lock:
            taken = min(len(data), _HOST_QUEUE_LIMIT - len(self._queue))
            self._queue += data[:taken]
            self._refused = taken < len(data)
            self._refill()
            self._update_line()
        return taken

    def _refill(self) -> None:
        """Give the chip what it has room for; in loop-back it hears only itself."""
        if self._mcr & _MCR_LOOP:
            return
        count = min(self._capacity - len(self._received), len(self._queue))
        if count > 0:
            self._received += self._queue[:count]
            del self._queue[:count]

    # -- the guest's side ---------------------------------------------------------------------

    def read_byte(self, offset: int) -> int:
        with self._lock:
            value = self._readers[offset]()
            self._update_line()
            room = self._refused and len(self._queue) <= _HOST_QUEUE_LIMIT // 2
            if room:
                self._refused = False
        if room and self._room is not None:
            self._room()
        return value

    def write_byte(self, offset: int, value: int) -> None:
        with self._lock:
            self._writers[offset](value)
            self._refill()
            self._update_line()
            transmit = offset == 0 and not (self._lcr & _LCR_DIVISOR_LATCH or self._mcr & _MCR_LOOP)
        if transmit:
            self._sink(bytes((value,)))

    # -- interrupts ---------------------------------------------------------------------------

    def _interrupt(self) -> int:
        """The interrupt of the highest priority that is pending and enabled, as in IIR."""
        ier = self._ier
        if self._overrun and ier & _IER_LINE:
            return _IIR_LINE
        if self._received and ier & _IER_RECEIVED:
            reached = len(self._received) >= self._trigger
            return _IIR_RECEIVED if reached else _IIR_TIMEOUT
        if self._transmit_pending and ier & _IER_TRANSMIT:
            return _IIR_TRANSMIT
        if self._msr & _MSR_CHANGES and ier & _IER_MODEM:
            return _IIR_MODEM
        return _IIR_NONE

    def _update_line(self) -> None:
        level = self._mcr & _CONNECTION == _MCR_OUT2 and self._interrupt() != _IIR_NONE
        if level != self._level:
            self._level = level
            self._irq(level)

    # -- registers ----------------------------------------------------------------------------

    @property
    def _fifos(self) -> bool:
        return bool(self._fcr & _FCR_ENABLE)

    @property
    def _capacity(self) -> int:
        return _FIFO_SIZE if self._fifos else 1

    @property
    def _trigger(self) -> int:
        return _TRIGGER_LEVELS[self._fcr >> 6] if self._fifos else 1

    def _read_data(self) -> int:
        if self._lcr & _LCR_DIVISOR_LATCH:
            return self._divisor & 0xFF
        if not self._received:
            return 0
        value = self._received.popleft()
        self._refill()
        return value

    def _write_data(self, value: int) -> None:
        if self._lcr & _LCR_DIVISOR_LATCH:
            self._divisor = self._divisor & 0xFF00 | value
            return
        if self._mcr & _MCR_LOOP:
            self._loop_back(value)
        # Writing takes the interrupt back, and the byte being out raises it again. The line
        # has to show both: behind an edge-triggered input only the fall makes the rise count.
        self._transmit_pending = False
        self._update_line()
        self._transmit_pending = True

    def _loop_back(self, value: int) -> None:
        if len(self._received) < self._capacity:
            self._received.append(value)
            return
        self._overrun = True
        if not self._fifos:  # the new character takes the old one's place; a FIFO keeps its own
            self._received[-1] = value

    def _read_ier(self) -> int:
        return self._divisor >> 8 if self._lcr & _LCR_DIVISOR_LATCH else self._ier

    def _write_ier(self, value: int) -> None:
        if self._lcr & _LCR_DIVISOR_LATCH:
            self._divisor = self._divisor & 0x00FF | value << 8
            return
        if value & ~self._ier & _IER_TRANSMIT:  # enabled while empty: that is an interrupt
            self._transmit_pending = True
        self._ier = value & 0x0F

    def _read_iir(self) -> int:
        interrupt = self._interrupt()
        if interrupt == _IIR_TRANSMIT:
            self._transmit_pending = False
        return interrupt | (_IIR_FIFOS if self._fifos else 0)

    def _write_fcr(self, value: int) -> None:
        if (value ^ self._fcr) & _FCR_ENABLE or value & _FCR_CLEAR_RECEIVER:
            self._received.clear()
        # The other bits count only together with this one.
        self._fcr = value & 0xC1 if value & _FCR_ENABLE else 0

    def _write_lcr(self, value: int) -> None:
        self._lcr = value

    def _write_mcr(self, value: int) -> None:
        self._mcr = value & 0x1F
        if self._mcr & _MCR_LOOP:
            lines = (
                (_MSR_CTS if value & _MCR_RTS else 0)
                | (_MSR_DSR if value & _MCR_DTR else 0)
                | (_MSR_RI if value & _MCR_OUT1 else 0)
                | (_MSR_DCD if value & _MCR_OUT2 else 0)
            )
        else:
            lines = _MSR_CTS | _MSR_DSR | _MSR_DCD
        changed = (self._msr ^ lines) & 0xF0
        changes = (changed & ~_MSR_RI) >> 4
        if changed & self._msr & _MSR_RI:
            changes |= _MSR_RI_ENDED
        self._msr = lines | self._msr & _MSR_CHANGES | changes

    def _read_lsr(self) -> int:
        value = _LSR_THR_EMPTY | _LSR_IDLE
        if self._received:
            value |= _LSR_DATA_READY
        if self._overrun:
            value |= _LSR_OVERRUN
            self._overrun = False
        return value

    def _read_msr(self) -> int:
        value = self._msr
        self._msr &= ~_MSR_CHANGES
        return value

    def _write_scratch(self, value: int) -> None:
        self._scratch = value

    def _write_nothing(self, value: int) -> None:
        """The status registers are the chip's to write (its factory test aside)."""
