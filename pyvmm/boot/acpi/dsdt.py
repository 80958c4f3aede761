# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The DSDT: the platform's devices that a guest can't find by itself, and how to power off.

Sources: ACPI 6.5, section 5.2.11.1 and chapter 6; PCI Firmware 3.3, section 4.1.2, has the
ECAM area be a resource of a motherboard device, and section 4.5 is about _OSC.
"""

from __future__ import annotations

from pyvmm.memory import layout

from .aml import (
    ARG0,
    ARG1,
    ARG3,
    LOCAL0,
    and_,
    create_dword_field,
    device,
    eisa_id,
    else_,
    equal,
    if_,
    integer,
    method,
    name,
    name_string,
    not_equal,
    or_,
    package,
    return_,
    scope,
    store,
    string,
    uuid,
)
from .resources import (
    bus_numbers,
    fixed_memory32,
    io_ports,
    io_window,
    irq,
    memory_window32,
    memory_window64,
    resources,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEVICES, _PINS = 32, 4
_ANY_FUNCTION = 0xFFFF

# What a guest may control by itself: the PCI Express capability. Hot-plug, errors, power management
# events and latency tolerance are not in it: root ports know of none of them, and those of an
# assigned device are its host's to deal with.
_PCI_HOST_BRIDGE = "33db4d5b-1ff7-401c-9657-7441c03dd766"
_GRANTED = 1 << 4
_UNKNOWN_UUID, _UNKNOWN_REVISION, _MASKED = 1 << 2, 1 << 3, 1 << 4


def dsdt(mmio64: tuple[int, int], last_bus: int, intx_gsi: Callable[[int, int], int]) -> bytes:
    """The table's body. For the arguments see build()."""
    sleep_type = integer(layout.SLP_TYP_S5)
    zero = integer(0)
    return scope(
        "\\_SB",
        device(
            "PCI0",
            name("_HID", eisa_id("PNP0A08")),
            name("_CID", eisa_id("PNP0A03")),
            name("_UID", zero),
            name("_SEG", zero),
            name("_BBN", zero),
            name("_CRS", _windows(mmio64, last_bus)),
            name("_PRT", _interrupt_routing(intx_gsi)),
            _operating_system_capabilities(),
        ),
        device(
            "MBRD",
            name("_HID", eisa_id("PNP0C02")),
            name("_UID", zero),
            name(
                "_CRS",
                resources(
                    fixed_memory32(layout.ECAM_BASE, layout.ECAM_SIZE),
                    # Ports below 0x100 nobody gives away, and Linux complains of hearing of them.
                    io_ports(layout.PM1A_EVENT_PORT, 6),
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


def _windows(mmio64: tuple[int, int], last_bus: int) -> bytes:
    windows = [
        bus_numbers(0, last_bus),
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


def _operating_system_capabilities() -> bytes:
    """_OSC: the guest says what it would control, and is told what of it it may.

    Arguments are a UUID, a revision, a count, and a buffer of so many dwords, which is also the
    answer: errors, what the guest supports, what it would control.
    """
    errors, control = name_string("CDW1"), name_string("CDW3")

    def error(bit: int) -> bytes:
        return or_(errors, integer(bit), errors)

    return method(
        "_OSC",
        4,
        create_dword_field(ARG3, 0, "CDW1"),
        if_(
            equal(ARG0, uuid(_PCI_HOST_BRIDGE)),
            create_dword_field(ARG3, 8, "CDW3"),
            if_(not_equal(ARG1, integer(1)), error(_UNKNOWN_REVISION)),
            and_(control, integer(_GRANTED), LOCAL0),
            if_(not_equal(control, LOCAL0), error(_MASKED)),
            store(LOCAL0, control),
        ),
        else_(error(_UNKNOWN_UUID)),
        return_(ARG3),
    )
