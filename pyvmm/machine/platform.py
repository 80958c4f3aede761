# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The platform's own devices at their ports: what every guest of pyvmm finds besides PCI."""

from __future__ import annotations

from pyvmm.devices import (
    DEBUG_EXIT_PORTS,
    I8042,
    I8042_COMMAND_PORT,
    I8042_DATA_PORT,
    PM1A_PORTS,
    POST_CODE_PORT,
    PVPANIC_PORTS,
    RTC_PORTS,
    SERIAL_PORTS,
    DebugExit,
    PostCode,
    PowerManagement,
    Pvpanic,
    Rtc,
    Serial,
)
from pyvmm.memory import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.kvm import Vm
    from pyvmm.memory import AddressMap


class Platform:
    """COM1, the clock, the i8042, power, panic and debug ports.

    The callables say what the guest asks for: transmit(bytes) what it sent to COM1, room() that
    COM1 takes input again, exit_guest(code), reset(how) and power_off() that it wants to end,
    panicked(goes_on) that it has.
    """

    def __init__(
        self,
        vm: Vm,
        ports: AddressMap,
        *,
        ram_size: int,
        transmit: Callable[[bytes], None],
        room: Callable[[], None],
        exit_guest: Callable[[int], None],
        reset: Callable[[str], None],
        power_off: Callable[[], None],
        panicked: Callable[[bool], None],
    ) -> None:
        self.serial = Serial(lambda level: vm.irq_line(layout.COM1_GSI, level), transmit, room)
        low_ram = min(ram_size, layout.LOW_RAM_LIMIT)
        rtc = Rtc(low_ram, ram_size - low_ram)
        i8042 = I8042(lambda: reset("the i8042"))
        power = PowerManagement(power_off)
        ports.add(layout.COM1_PORT, SERIAL_PORTS, self.serial)
        ports.add(layout.RTC_PORT, RTC_PORTS, rtc)
        ports.add(I8042_DATA_PORT, 1, i8042.data)
        ports.add(I8042_COMMAND_PORT, 1, i8042.command)
        ports.add(layout.PM1A_EVENT_PORT, PM1A_PORTS, power)
        ports.add(layout.PVPANIC_PORT, PVPANIC_PORTS, Pvpanic(panicked))
        ports.add(layout.DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, DebugExit(exit_guest))
        ports.add(POST_CODE_PORT, 1, PostCode())
        self._resettable = (self.serial, rtc, i8042, power)

    def reset(self) -> None:
        """The devices as at power-on, and their interrupt lines down. Time and CMOS memory stay."""
        for device in self._resettable:
            device.reset()
