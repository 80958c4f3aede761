# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Config: a device's configuration space, its registers and capabilities by name.

Names and layouts are those of <linux/pci_regs.h> and the PCI Express Base Specification,
chapter 7.5.1 (the type 0 header).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from ...uapi import pci_regs as regs
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from ..device import Device
from ..pci_capabilities import capabilities, extended_capabilities
from .capability import Capability, Place
from .conventional import CLASSES as CONVENTIONAL
from .extended import CLASSES as EXTENDED
from .registers import Field, Flag, Named, Register
from .window import RegionWindow

C = TypeVar("C", bound=Capability)


class Config(Named, RegionWindow):
    """Configuration space: 256 bytes, or 4096 with the extended part.

    Each use of a register is an access of the device's, by VFIO, which keeps for itself what a
    driver must not change (BARs, MSI and MSI-X, which `enable` turns on).
    """

    vendor_id = Register(regs.PCI_VENDOR_ID, 2)
    device_id = Register(regs.PCI_DEVICE_ID, 2)

    command = Register(regs.PCI_COMMAND, 2)
    io_enable = Flag(command, regs.PCI_COMMAND_IO)
    memory_enable = Flag(command, regs.PCI_COMMAND_MEMORY)
    bus_master = Flag(command, regs.PCI_COMMAND_MASTER)
    parity_response = Flag(command, regs.PCI_COMMAND_PARITY)
    serr_enable = Flag(command, regs.PCI_COMMAND_SERR)
    intx_disable = Flag(command, regs.PCI_COMMAND_INTX_DISABLE)

    status = Register(regs.PCI_STATUS, 2, write_1_to_clear=0xF900)
    intx_pending = Flag(status, regs.PCI_STATUS_INTERRUPT)
    capability_list = Flag(status, regs.PCI_STATUS_CAP_LIST)
    master_parity_error = Flag(status, regs.PCI_STATUS_PARITY)
    signaled_target_abort = Flag(status, regs.PCI_STATUS_SIG_TARGET_ABORT)
    received_target_abort = Flag(status, regs.PCI_STATUS_REC_TARGET_ABORT)
    received_master_abort = Flag(status, regs.PCI_STATUS_REC_MASTER_ABORT)
    signaled_system_error = Flag(status, regs.PCI_STATUS_SIG_SYSTEM_ERROR)
    detected_parity_error = Flag(status, regs.PCI_STATUS_DETECTED_PARITY)

    class_revision = Register(regs.PCI_CLASS_REVISION, 4)
    revision_id = Field(class_revision, 0x000000FF)
    class_code = Field(class_revision, 0xFFFFFF00)

    cache_line_size = Register(regs.PCI_CACHE_LINE_SIZE, 1)
    latency_timer = Register(regs.PCI_LATENCY_TIMER, 1)

    header_type = Register(regs.PCI_HEADER_TYPE, 1)
    header_layout = Field(header_type, regs.PCI_HEADER_TYPE_MASK)
    multi_function = Flag(header_type, regs.PCI_HEADER_TYPE_MFD)

    bist = Register(regs.PCI_BIST, 1)
    bar0 = Register(regs.PCI_BASE_ADDRESS_0)
    bar1 = Register(regs.PCI_BASE_ADDRESS_1)
    bar2 = Register(regs.PCI_BASE_ADDRESS_2)
    bar3 = Register(regs.PCI_BASE_ADDRESS_3)
    bar4 = Register(regs.PCI_BASE_ADDRESS_4)
    bar5 = Register(regs.PCI_BASE_ADDRESS_5)
    cardbus_cis = Register(regs.PCI_CARDBUS_CIS)
    subsystem_vendor_id = Register(regs.PCI_SUBSYSTEM_VENDOR_ID, 2)
    subsystem_id = Register(regs.PCI_SUBSYSTEM_ID, 2)

    rom_address = Register(regs.PCI_ROM_ADDRESS)
    rom_enable = Flag(rom_address, regs.PCI_ROM_ADDRESS_ENABLE)

    capability_pointer = Register(regs.PCI_CAPABILITY_LIST, 1)
    interrupt_line = Register(regs.PCI_INTERRUPT_LINE, 1)
    interrupt_pin = Register(regs.PCI_INTERRUPT_PIN, 1)
    min_grant = Register(regs.PCI_MIN_GNT, 1)
    max_latency = Register(regs.PCI_MAX_LAT, 1)

    def __init__(self, device: Device) -> None:
        super().__init__(device, VFIO_PCI_CONFIG_REGION_INDEX, "configuration space")
        self._writing: Callable[[], AbstractContextManager[None]] = nullcontext

    def around_writes(self, writing: Callable[[], AbstractContextManager[None]]) -> None:
        """Have all writes made within such a context."""
        self._writing = writing

    def store(self, offset: int, width: int, value: int) -> None:
        with self._writing():
            super().store(offset, width, value)

    def write(self, offset: int, data: bytes) -> None:
        with self._writing():
            super().write(offset, data)

    @property
    def capabilities(self) -> list[Capability]:
        """All capabilities, extended ones too, in the order of their chains, read anew each time.

        A chain that loops or leads nowhere is followed as far as it makes sense. Raises VfioError
        only if the device can't be read.
        """
        found = [(CONVENTIONAL, at) for at in capabilities(self.load)]
        if self.size > regs.PCI_CFG_SPACE_SIZE:
            found += [(EXTENDED, at) for at in extended_capabilities(self.load, self.size)]
        borders = {regs.PCI_CFG_SPACE_SIZE, self.size, *(at.offset for _, at in found)}
        objects = []
        for classes, (id, offset, version) in found:
            end = min(border for border in borders if border > offset)
            place = Place(self, classes is EXTENDED, id, version, offset, end)
            objects.append(classes.get(id, Capability)(place))
        return objects

    def find(self, kind: type[C]) -> C | None:
        """The first capability of a class, such as `MsiX`; None if the device has none."""
        return next((found for found in self.capabilities if isinstance(found, kind)), None)
