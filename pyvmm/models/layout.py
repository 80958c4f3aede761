# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Layout: what a model declares, put together into configuration space and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.uapi.pci_regs import (
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_CFG_SPACE_SIZE,
    PCI_MSIX_ENTRY_SIZE,
)
from pyvmm.uapi.vfio import (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_NUM_REGIONS,
    VFIO_PCI_ROM_REGION_INDEX,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from pyvmm.vfio import Interval, RegionInfo

from .capabilities import Capability, Express, Msi, MsiX
from .regions import Area, Bar, Ram, Rom, Trapped

if TYPE_CHECKING:
    from .model_device import ModelDevice

T = TypeVar("T")


class Identity(NamedTuple):
    """Who a device is; `class_code` is base class, sub-class and interface, 24 bits."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0


class Layout:
    """The parts of one model. Raises ValueError for declarations that contradict each other."""

    def __init__(self, model: ModelDevice) -> None:
        self.bars = {bar.index: bar for bar in _declared(type(model), Bar)}
        self.areas: dict[int, list[Area]] = {
            index: list(bar.areas) for index, bar in self.bars.items()
        }
        """what is in each BAR of this model besides registers"""
        self.rom = b"".join(rom.content for rom in _declared(type(model), Rom)[-1:])
        self.msi_vectors = self.msix_vectors = 0
        self.msix_table: Ram | None = None
        self.msix_pending: Trapped | None = None
        self.express = 0
        """the offset of the PCI Express capability, if it has one"""
        express = any(isinstance(capability, Express) for capability in model.capabilities)
        self.config = ConfigSpace(PCI_CFG_SPACE_EXP_SIZE if express else PCI_CFG_SPACE_SIZE)
        self._add_header(model.identity, model.interrupt_pin)
        self._add_capabilities(model.capabilities)

    def region_infos(self) -> list[RegionInfo]:
        """Of all regions but the BARs, which tell it themselves."""
        infos = [RegionInfo(index, 0, 0) for index in range(VFIO_PCI_NUM_REGIONS)]
        config, rom = VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX
        flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
        infos[config] = RegionInfo(config, flags, self.config.size)
        if self.rom:
            infos[rom] = RegionInfo(rom, VFIO_REGION_INFO_FLAG_READ, len(self.rom))
        return infos

    def _add_header(self, identity: Identity, interrupt_pin: int) -> None:
        self.config.set_ids(
            identity.vendor,
            identity.device,
            class_code=identity.class_code,
            revision=identity.revision,
            subsystem_vendor=identity.subsystem_vendor,
            subsystem=identity.subsystem,
        )
        self.config.set_interrupt_pin(interrupt_pin)
        for bar in self.bars.values():
            self.config.set_bar(
                bar.index, bar.size, io=bar.io, wide=bar.wide, prefetchable=bar.prefetchable
            )
        if self.rom:
            self.config.set_rom(len(self.rom))

    def _add_capabilities(self, capabilities: Sequence[Capability]) -> None:
        for capability in capabilities:
            offset = capability.add(self.config)
            if isinstance(capability, Msi):
                self.msi_vectors = capability.vectors
            elif isinstance(capability, MsiX):
                self._add_msix(capability)
            elif isinstance(capability, Express):
                self.express = offset

    def _add_msix(self, msix: MsiX) -> None:
        self.msix_vectors = msix.vectors
        table, pending = msix.table, msix.pba
        self.msix_table = Ram(Interval.sized(table[1], msix.vectors * PCI_MSIX_ENTRY_SIZE))
        self._place(table[0], self.msix_table)
        self.msix_pending = Trapped(Interval.sized(pending[1], (msix.vectors + 63) // 64 * 8))
        self._place(pending[0], self.msix_pending)

    def _place(self, index: int, area: Area) -> None:
        bar = self.bars.get(index)
        if bar is None:
            raise ValueError(f"MSI-X is in BAR {index}, which is not declared")
        bar.check(area, self.areas[index])
        self.areas[index].append(area)


def _declared(model: type[ModelDevice], kind: type[T]) -> list[T]:
    """What a class and its bases declare of one kind; a name of the class hides its bases'."""
    found: dict[str, object] = {}
    for base in reversed(model.__mro__):
        found.update(vars(base))
    return [value for value in found.values() if isinstance(value, kind)]
