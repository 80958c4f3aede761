# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The platform's own small devices, each an I/O handler for an AddressMap of ports."""

from __future__ import annotations

from .byte_registers import ByteRegisters
from .debug import DEBUG_EXIT_PORTS, POST_CODE_PORT, DebugExit, PostCode
from .i8042 import I8042, I8042_COMMAND_PORT, I8042_DATA_PORT
from .power import PM1A_PORTS, PowerManagement
from .pvpanic import PVPANIC_PORTS, Pvpanic
from .rtc import RTC_PORTS, Rtc
from .serial import SERIAL_PORTS, Serial

__all__ = [
    "DEBUG_EXIT_PORTS",
    "I8042",
    "I8042_COMMAND_PORT",
    "I8042_DATA_PORT",
    "PM1A_PORTS",
    "POST_CODE_PORT",
    "PVPANIC_PORTS",
    "RTC_PORTS",
    "SERIAL_PORTS",
    "ByteRegisters",
    "DebugExit",
    "PostCode",
    "PowerManagement",
    "Pvpanic",
    "Rtc",
    "Serial",
]
