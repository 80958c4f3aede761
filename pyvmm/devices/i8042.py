# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""I8042: a PS/2 controller with nothing plugged in.

It is there because its command 0xfe is how many guests reset a PC. It answers everything else
that is asked of a controller too, at once and to the end that there is neither keyboard nor
mouse: a guest that probes without an answer waits half a second for each. Port 0x61, between
its two, belongs to the timer. Source: IBM PS/2 Hardware Interface Technical Reference, 1988.
"""

from __future__ import annotations

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

I8042_DATA_PORT = 0x60
I8042_COMMAND_PORT = 0x64

_STATUS_OUTPUT, _STATUS_SYSTEM, _STATUS_COMMAND, _STATUS_UNLOCKED = 0x01, 0x04, 0x08, 0x10
_STATUS_AUX, _STATUS_TIMEOUT = 0x20, 0x40

# The system flag, and both devices' clocks held: nothing will come from them.
_CONFIG_AT_RESET = 0x34

_READ_CONFIG, _WRITE_CONFIG = 0x20, 0x60
_TEST_AUX, _TEST_CONTROLLER, _TEST_KEYBOARD = 0xA9, 0xAA, 0xAB
_READ_INPUT_PORT, _READ_OUTPUT_PORT, _WRITE_OUTPUT_PORT = 0xC0, 0xD0, 0xD1
_LOOP_KEYBOARD, _LOOP_AUX, _WRITE_AUX = 0xD2, 0xD3, 0xD4
_PULSE_OUTPUT_PORT = 0xF0
_WITH_DATA = (_WRITE_CONFIG, _WRITE_OUTPUT_PORT, _LOOP_KEYBOARD, _LOOP_AUX, _WRITE_AUX)

_OUTPUT_NOT_RESET = 0x01
_OUTPUT_PORT = 0x03  # not in reset, A20 open

_TEST_PASSED = 0x55
_CLOCK_STUCK_LOW = 0x01
_RESEND = 0xFE


class I8042:
    """The controller; request_reset is called when the guest asks for a reset of the machine.

    data and command are the I/O handlers of its two ports, one byte each.
    """

    def __init__(self, request_reset: Callable[[], None]) -> None:
        self._request_reset = request_reset
        self.reset()
        self._replies = {
            _TEST_CONTROLLER: _TEST_PASSED,
            _TEST_KEYBOARD: _CLOCK_STUCK_LOW,
            _TEST_AUX: _CLOCK_STUCK_LOW,
            _READ_INPUT_PORT: 0,
            _READ_OUTPUT_PORT: _OUTPUT_PORT,
        }
        self.data = _Port(self._read_data, self._write_data)
        self.command = _Port(self._read_status, self._write_command)

    def reset(self) -> None:
        """As at power-on."""
        self._config = _CONFIG_AT_RESET
        self._output = 0
        self._status = _STATUS_UNLOCKED | _STATUS_SYSTEM
        self._awaiting_data = 0

    def _reply(self, value: int, flags: int = 0) -> None:
        self._output = value
        self._status &= ~(_STATUS_AUX | _STATUS_TIMEOUT)
        self._status |= _STATUS_OUTPUT | flags

    def _read_data(self) -> int:
        self._status &= ~_STATUS_OUTPUT
        return self._output

    def _read_status(self) -> int:
        return self._status

    def _write_command(self, command: int) -> None:
        self._status |= _STATUS_COMMAND
        self._awaiting_data = command if command in _WITH_DATA else 0
        if command == _READ_CONFIG:
            self._reply(self._config)
        elif command in self._replies:
            self._reply(self._replies[command])
        elif command >= _PULSE_OUTPUT_PORT and not command & _OUTPUT_NOT_RESET:
            self._request_reset()

    def _write_data(self, value: int) -> None:
        self._status &= ~_STATUS_COMMAND
        command, self._awaiting_data = self._awaiting_data, 0
        if command == _WRITE_CONFIG:
            self._config = value
        elif command == _WRITE_OUTPUT_PORT:
            if not value & _OUTPUT_NOT_RESET:
                self._request_reset()
        elif command in (_LOOP_KEYBOARD, _LOOP_AUX):
            # Not marked as from the AUX side: by that a guest sees that there is none.
            self._reply(value)
        elif command == _WRITE_AUX:
            self._reply(_RESEND, _STATUS_TIMEOUT | _STATUS_AUX)
        else:
            self._reply(_RESEND, _STATUS_TIMEOUT)


class _Port(ByteRegisters):
    """One port of the controller."""

    __slots__ = ("_read", "_write")

    def __init__(self, read: Callable[[], int], write: Callable[[int], None]) -> None:
        self._read = read
        self._write = write

    def read_byte(self, offset: int) -> int:
        return self._read()

    def write_byte(self, offset: int, value: int) -> None:
        self._write(value)
