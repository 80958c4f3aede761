# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The interrupts of an assigned device, as its registers show them."""

from __future__ import annotations

from collections.abc import Callable

from pyvmm.pci.vectors import Message
from pyvmm.vfio import DeviceError
from tests.unit.pci.conftest import (
    COMMAND,
    MEMORY,
    MSI_AT,
    MSIX_AT,
    NO_INTX,
    VENDOR_AT,
    Setting,
    make_device,
)
from tests.unit.pci.fake_device import INTX, MSI, MSIX


def test_enable_bits_switch_the_kinds_and_the_device_sees_them(setting: Setting) -> None:
    kinds = setting.device.kinds
    assert kinds[INTX].enabled
    assert setting.vm.irqfds, "INTx is there from the start: it needs no enabling"
    setting.write(MSIX_AT + 2, 2, 0xC000)
    assert (bool(kinds[INTX].enabled), bool(kinds[MSIX].enabled)) == (False, True)
    assert setting.device.config[MSIX_AT + 3] == 0xC0
    assert setting.read(MSIX_AT, 4) == 0xC00F0011 | VENDOR_AT << 8
    setting.write(MSIX_AT + 2, 2, 0)
    setting.write(MSI_AT + 4, 4, 0xFEE00000)
    assert setting.device.config[MSI_AT + 4] == 0, "where our messages go is not for the device"
    setting.write(MSI_AT + 2, 2, 0x21)
    assert kinds[MSI].enabled == 4
    assert setting.device.config[MSI_AT + 2] == 0x21
    setting.write(MSI_AT + 2, 2, 0)
    setting.write(COMMAND, 2, NO_INTX)
    assert not setting.vm.irqfds
    assert not kinds[MSI].enabled
    assert not kinds[MSIX].enabled
    setting.write(COMMAND, 2, 0)
    assert setting.vm.irqfds


def test_a_line_that_the_host_can_not_give(make: Callable[..., Setting]) -> None:
    """Told once; the guest has it without INTx, and with everything else."""
    device = make_device()
    device.line_is_taken = True
    setting = make(device)
    setting.write(COMMAND, 2, NO_INTX)
    setting.write(COMMAND, 2, MEMORY)
    assert setting.reports == ["triggers of INTx: EBUSY (Device or resource busy)"]
    assert not setting.vm.irqfds
    bar0 = setting.function.bars[0].address
    setting.write(MSIX_AT + 2, 2, 0x8000)
    setting.store(bar0 + 0x1800, 4, 0xFEE00000)
    setting.store(bar0 + 0x180C, 4, 0)
    device.signal(0)
    setting.vm.run()
    assert setting.vm.delivered == [Message(0xFEE00000, 0)]


def test_the_pba_has_what_the_device_knows(setting: Setting) -> None:
    """Of vectors that are not in use yet, and of those that it holds back itself."""
    setting.write(COMMAND, 2, MEMORY)
    bar0 = setting.function.bars[0].address
    setting.write(MSIX_AT + 2, 2, 0xC000)
    setting.store(bar0 + 0x1810, 4, 0xFEE00000)
    setting.write(MSIX_AT + 2, 2, 0x8000)  # vector 1 is in use now, and masked
    pba = setting.device.contents[0]
    pba[0x1C00:0x1C08] = b"\xec\xff\xff\xff\xff\xff\xff\xff"
    assert setting.load(bar0 + 0x1C00, 8) == 0xFFEC, "of 16 vectors"
    assert setting.load(bar0 + 0x1C01, 1) == 0, "all-ones is no answer"
    setting.device.signal(1)
    assert setting.load(bar0 + 0x1C00, 4) == 0xFFEE
    setting.device.refuse = DeviceError("no register", 22)
    assert setting.load(bar0 + 0x1C00, 4) == 2, "what we know we tell"
    setting.device.refuse = None
    setting.store(bar0 + 0x1C00, 8, 0)
    assert pba[0x1C00] == 0xEC, "pending bits are read-only"
    for vector in range(16):
        setting.store(bar0 + 0x1800 + 16 * vector, 4, 0xFEE00000)
    pba[0x1C00:0x1C08] = b"\x08" + bytes(7)
    assert setting.load(bar0 + 0x1C00, 8) == 0xA


def test_msi_pending_bits_are_read_through_configuration_space(setting: Setting) -> None:
    setting.write(MSI_AT + 4, 4, 0xFEE00000)
    setting.write(MSI_AT + 0x10, 4, 0xFF)
    setting.write(MSI_AT + 2, 2, 0x31)
    setting.device.signal(6, MSI)
    assert setting.read(MSI_AT + 0x14, 4) == 1 << 6
    assert setting.read(MSI_AT + 0x14, 1) == 1 << 6
    setting.write(MSI_AT + 0x10, 4, 0)
    assert setting.read(MSI_AT + 0x14, 4) == 0
    assert len(setting.vm.delivered) == 1
