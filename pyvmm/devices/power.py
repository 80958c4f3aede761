# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PowerManagement: ACPI's PM1a registers, by which a guest turns the machine off.

Source: ACPI 6.5, section 4.8.3. (The reset register is one of the host bridge's ports.)
"""

from __future__ import annotations

from pyvmm.memory import layout

from .byte_registers import ByteRegisters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PM1A_PORTS = 6
"""Status, enable and control, two bytes each, from layout.PM1A_EVENT_PORT."""

_ENABLE = 2
_CONTROL = 4
_CONTROL_HIGH = 5
_SCI_ENABLED = 0x01
_SLEEP_TYPE_SHIFT = 2  # both of the control register's high byte
_SLEEP_ENABLE = 0x20


class PowerManagement(ByteRegisters):
    """The PM1a block of a machine that is in ACPI mode from the start and has no event sources.

    power_off is called when the guest enters S5, perhaps more than once.
    """

    __slots__ = ("_power_off", "_registers")

    def __init__(self, power_off: Callable[[], None]) -> None:
        self._power_off = power_off
        self.reset()

    def reset(self) -> None:
        """As at power-on."""
        self._registers = bytearray(PM1A_PORTS)
        self._registers[_CONTROL] = _SCI_ENABLED

    def read_byte(self, offset: int) -> int:
        return self._registers[offset]

    def write_byte(self, offset: int, value: int) -> None:
        if offset < _ENABLE:
            return  # status bits are cleared by writing, and none is ever set
        if offset == _CONTROL:
            value |= _SCI_ENABLED
        elif offset == _CONTROL_HIGH:
            sleep_type = value >> _SLEEP_TYPE_SHIFT & 7
            if value & _SLEEP_ENABLE and sleep_type == layout.SLP_TYP_S5:
                self._power_off()
            value &= ~_SLEEP_ENABLE  # write-only
        self._registers[offset] = value
