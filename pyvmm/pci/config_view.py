# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which bits of an assigned function's configuration space are the device's, and which are ours.

One table says it. A bit is the device's unless a row takes it: then it is read from our own
ConfigSpace, whose write masks say whether the guest can change it (emulated) or not (fixed). The
guest's writes reach the device where some bit of the byte is the device's, or the row has it told.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_CAP_LIST_NEXT,
    PCI_CAPABILITY_LIST,
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_IO,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
    PCI_INTERRUPT_LINE,
    PCI_MSI_ADDRESS_LO,
    PCI_MSI_FLAGS,
    PCI_MSIX_FLAGS,
    PCI_MSIX_TABLE,
    PCI_ROM_ADDRESS,
    PCI_STD_NUM_BARS,
)
from pyvmm.vfio.pci.capabilities import CapabilityHeader

from .config_space import ConfigSpace


class Row(NamedTuple):
    """Bits that are ours, of the register of size bytes at offset.

    told: the device sees the guest's writes all the same.
    """

    what: str
    offset: int
    size: int
    bits: int = -1
    told: bool = False


HEADER = (
    # Decoding and bus mastering happen in the device, or in what VFIO emulates of it.
    Row(
        "command",
        PCI_COMMAND,
        2,
        PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE,
        told=True,
    ),
    # The guest's addresses are not the host's.
    Row("BARs", PCI_BASE_ADDRESS_0, 4 * PCI_STD_NUM_BARS),
    Row("expansion ROM", PCI_ROM_ADDRESS, 4),
    # The pin is fixed: none, if the device has no INTx for us.
    Row("interrupt line and pin", PCI_INTERRUPT_LINE, 2),
)


def msi_rows(offset: int, end: int) -> tuple[Row, ...]:
    """Of the MSI capability at offset. The device sees it switched on, but not our messages."""
    registers = offset + PCI_MSI_ADDRESS_LO
    return (
        Row("MSI control", offset + PCI_MSI_FLAGS, 2, told=True),
        Row("MSI message, mask and pending bits", registers, end - registers),
    )


def msix_rows(offset: int) -> tuple[Row, ...]:
    """Of the MSI-X capability at offset."""
    return (
        Row("MSI-X control", offset + PCI_MSIX_FLAGS, 2, told=True),
        Row("MSI-X table and PBA", offset + PCI_MSIX_TABLE, 8),
    )


def chain_rows(
    config: ConfigSpace, chain: Sequence[CapabilityHeader], hidden: Container[int]
) -> tuple[Row, ...]:
    """Link the conventional capabilities in config, past those at hidden offsets.

    The pointers are fixed, so that a guest can't be led in circles.
    """
    shown = [capability.offset for capability in chain if capability.offset not in hidden]
    pointers = [PCI_CAPABILITY_LIST, *(offset + PCI_CAP_LIST_NEXT for offset in shown)]
    for pointer, target in zip(pointers, [*shown, 0], strict=True):
        config.set_u8(pointer, target)
    return tuple(Row("capability pointer", pointer, 1) for pointer in pointers)


class ConfigView:
    """The table as masks over the bytes, and the ConfigSpace that has our bits."""

    def __init__(self, config: ConfigSpace, rows: Sequence[Row]) -> None:
        self.config = config
        self.told_rows = [row for row in rows if row.told]
        """Registers of which the device has a copy."""
        self._ours = bytearray(config.size)
        self._kept = bytearray(config.size)  # 1 where the device doesn't see writes
        for row in rows:
            part = slice(row.offset, row.offset + row.size)
            bits = int.from_bytes(self._ours[part], "little") | row.bits & (1 << 8 * row.size) - 1
            self._ours[part] = bits.to_bytes(row.size, "little")
            if not row.told:
                self._kept[part] = bytes(byte == 0xFF for byte in self._ours[part])

    def ours(self, offset: int, size: int) -> int:
        """The bits of these bytes that are ours."""
        return int.from_bytes(self._ours[offset : offset + size], "little")

    def told(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """(offset, size) of the writes the device sees of one of size bytes at offset.

        It sees the write as it is if all its bytes are meant for it; else, byte by byte, those
        that are.
        """
        kept = self._kept[offset : offset + size]
        if not any(kept):
            yield offset, size
        else:
            for at, is_kept in enumerate(kept):
                if not is_kept:
                    yield offset + at, 1
