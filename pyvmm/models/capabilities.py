# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI capabilities by declaration: each knows its bytes in a configuration space.

`at` is the offset wanted in configuration space; 0 takes the first that is free. Layouts are
those of the PCI Express Base Specification and the PCI Bus Power Management Specification,
with names as in <linux/pci_regs.h>.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.uapi.pci_regs import (
    PCI_CAP_EXP_ENDPOINT_SIZEOF_V2,
    PCI_CAP_ID_EXP,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CAP_ID_PM,
    PCI_CAP_ID_VNDR,
    PCI_EXP_DEVCAP_FLR,
    PCI_EXP_DEVCAP_RBER,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_AUX_PME,
    PCI_EXP_DEVCTL_NOSNOOP_EN,
    PCI_EXP_DEVCTL_PHANTOM,
    PCI_EXP_DEVCTL_READRQ_512B,
    PCI_EXP_DEVCTL_RELAX_EN,
    PCI_EXP_DEVSTA,
    PCI_EXP_LNKCTL,
    PCI_EXT_CAP_ID_DSN,
    PCI_EXT_CAP_ID_VNDR,
    PCI_MSI_FLAGS_64BIT,
    PCI_MSI_FLAGS_ENABLE,
    PCI_MSI_FLAGS_MASKBIT,
    PCI_MSI_FLAGS_QSIZE,
    PCI_MSIX_FLAGS_ENABLE,
    PCI_MSIX_FLAGS_MASKALL,
    PCI_PM_CTRL_NO_SOFT_RESET,
    PCI_PM_CTRL_STATE_MASK,
)


class PowerManagement(NamedTuple):
    """Power management, version 3: D0 and D3hot, from which the function returns unreset."""

    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        body = struct.pack("<HHH", 3, PCI_PM_CTRL_NO_SOFT_RESET, 0)
        writable = struct.pack("<HHH", 0, PCI_PM_CTRL_STATE_MASK, 0)
        return config.add_capability(PCI_CAP_ID_PM, body, writable, self.at)


class Msi(NamedTuple):
    """MSI with 64-bit addresses and 1, 2, 4, 8, 16 or 32 vectors; `maskable` one by one."""

    vectors: int = 1
    maskable: bool = False
    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        if self.vectors not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"MSI with {self.vectors} vectors: 1, 2, 4, 8, 16 or 32 are possible")
        flags = PCI_MSI_FLAGS_64BIT | self.vectors.bit_length() - 1 << 1
        body = struct.pack("<HQH", flags, 0, 0)
        control = PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE
        writable = struct.pack("<HQH", control, 0xFFFFFFFF_FFFFFFFC, 0xFFFF)
        if self.maskable:
            body = struct.pack("<HQHHII", flags | PCI_MSI_FLAGS_MASKBIT, 0, 0, 0, 0, 0)
            writable += struct.pack("<HII", 0, (1 << self.vectors) - 1, 0)
        return config.add_capability(PCI_CAP_ID_MSI, body, writable, self.at)


class MsiX(NamedTuple):
    """MSI-X with up to 2048 vectors; `table` and `pba` are (BAR index, offset in it)."""

    vectors: int
    table: tuple[int, int]
    pba: tuple[int, int]
    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        places = [offset | bar for bar, offset in (self.table, self.pba)]
        body = struct.pack("<HII", self.vectors - 1, *places)
        writable = struct.pack("<H", PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
        return config.add_capability(PCI_CAP_ID_MSIX, body, writable, self.at)


class Vendor(NamedTuple):
    """A vendor-specific capability; `body` is what follows the id, next and length bytes."""

    body: bytes
    writable: bytes = b""
    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        length = bytes([3 + len(self.body)])
        return config.add_capability(
            PCI_CAP_ID_VNDR, length + self.body, b"\0" + self.writable, self.at
        )


class Express(NamedTuple):
    """PCI Express, version 2: an endpoint on a link of one lane at 2.5 GT/s, with FLR.

    A model that has it has 4096 bytes of configuration space.
    """

    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        control = PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B
        body = struct.pack("<HI", 2, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR)
        body += struct.pack("<HHIHH", control, 0, 0x11, 0, 0x11)  # 0x11: one lane, 2.5 GT/s
        body = body.ljust(PCI_CAP_EXP_ENDPOINT_SIZEOF_V2 - 2, b"\0")
        offset = config.add_capability(PCI_CAP_ID_EXP, body, at=self.at)
        no_use = PCI_EXP_DEVCTL_PHANTOM | PCI_EXP_DEVCTL_AUX_PME
        config.make_writable(offset + PCI_EXP_DEVCTL, 2, ~no_use)
        config.make_write_1_to_clear(offset + PCI_EXP_DEVSTA, 2, 0x000F)
        config.make_writable(offset + PCI_EXP_LNKCTL, 2, 0x00C3)
        return offset


class SerialNumber(NamedTuple):
    """The extended capability with the device's serial number, 64 bits."""

    number: int
    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        body = struct.pack("<Q", self.number)
        return config.add_extended_capability(PCI_EXT_CAP_ID_DSN, 1, body, at=self.at)


class VendorExtended(NamedTuple):
    """A vendor-specific extended capability; `body` is what follows its two headers."""

    id: int
    revision: int
    body: bytes
    writable: bytes = b""
    at: int = 0

    def add(self, config: ConfigSpace) -> int:
        length = 8 + len(self.body)
        header = struct.pack("<I", length << 20 | self.revision << 16 | self.id)
        return config.add_extended_capability(
            PCI_EXT_CAP_ID_VNDR, 1, header + self.body, bytes(4) + self.writable, self.at
        )


Capability = PowerManagement | Msi | MsiX | Vendor | Express | SerialNumber | VendorExtended
