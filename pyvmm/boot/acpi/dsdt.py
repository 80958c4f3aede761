# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The DSDT: the platform's devices that a guest can't find by itself, and how to power off.

Sources: ACPI 6.5, section 5.2.11.1 and chapter 6; PCI Firmware 3.3, section 4.1.2, has the
ECAM area be a resource of a motherboard device.
"""

from __future__ import annotations

from pyvmm.memory import layout

from .aml import (
    bus_numbers,
    device,
    eisa_id,
    fixed_memory32,
    integer,
    io_ports,
    io_window,
    irq,
    memory_window32,
    memory_window64,
    name,
    package,
    resources,
    scope,
    string,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEVICES, _PINS = 32, 4
_ANY_FUNCTION = 0xFFFF


def dsdt(mmio64: tuple[int, int], intx_gsi: Callable[[int, int], int]) -> bytes:
    """The table's body. For mmio64 and intx_gsi see build()."""
    sleep_type = integer(layout.SLP_TYP_S5)
    zero = integer(0)
    return scope(
        "\\_SB",
        device(
            "PCI0",
            name("_HID", eisa_id("PNP0A08")),
            name("_CID", eisa_id("PNP0A03")),
            name("_UID", zero),
            name("_CRS", _windows(mmio64)),
            name("_PRT", _interrupt_routing(intx_gsi)),
        ),
        device(
            "MBRD",
            name("_HID", eisa_id("PNP0C02")),
            name("_UID", zero),
            name(
                "_CRS",
                resources(
                    fixed_memory32(layout.ECAM_BASE, layout.ECAM_SIZE),
                    io_ports(layout.PM1A_EVENT_PORT, 6),
                    io_ports(layout.DEBUG_EXIT_PORT, 4),
                ),
            ),
        ),
        device(
            "COM1",
            name("_HID", eisa_id("PNP0501")),
            name("_UID", zero),
            name("_CRS", resources(io_ports(layout.COM1_PORT, 8), irq(layout.COM1_GSI))),
        ),
        # Without an interrupt, as it has none: the guest polls it for the time.
        device(
            "RTC",
            name("_HID", eisa_id("PNP0B00")),
            name("_CRS", resources(io_ports(layout.RTC_PORT, 2))),
        ),
        _pvpanic(),
    ) + name("\\_S5", package(sleep_type, zero, zero, zero))


def _pvpanic() -> bytes:
    """The id is QEMU's, which is not one of Plug and Play's."""
    return device(
        "PEVT",
        name("_HID", string("QEMU0001")),
        name("_UID", integer(0)),
        name("_CRS", resources(io_ports(layout.PVPANIC_PORT, 1))),
    )


def _windows(mmio64: tuple[int, int]) -> bytes:
    windows = [
        bus_numbers(0, 255),
        io_ports(0xCF8, 8),
        io_window(layout.IO_START, layout.IO_END),
        memory_window32(layout.MMIO32_START, layout.MMIO32_END),
    ]
    start, end = mmio64
    if start < end:
        windows.append(memory_window64(start, end))
    return resources(*windows)


def _interrupt_routing(intx_gsi: Callable[[int, int], int]) -> bytes:
    """Every pin goes to a GSI by number, without link devices (section 6.2.13)."""
    return package(
        *(
            package(
                integer(slot << 16 | _ANY_FUNCTION),
                integer(pin - 1),
                integer(0),
                integer(intx_gsi(slot, pin)),
            )
            for slot in range(_DEVICES)
            for pin in range(1, _PINS + 1)
        )
    )
