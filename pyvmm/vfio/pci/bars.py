# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Bar and MappedBar: a device's BARs, by calls and by loads and stores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal, NamedTuple, Self

from ...uapi.pci_regs import (
    PCI_BASE_ADDRESS_MEM_PREFETCH,
    PCI_BASE_ADDRESS_MEM_TYPE_64,
    PCI_BASE_ADDRESS_MEM_TYPE_MASK,
    PCI_BASE_ADDRESS_SPACE_IO,
)
from ..device import Device
from ..errors import BadAccess, DeviceGone
from ..intervals import Interval
from ..mapping import Mapping
from .window import RegionWindow, Window

# Of each width the native, aligned type: memoryview's items of them are moved whole.
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Bar(RegionWindow):
    """A BAR, or the ROM; a `size` of 0 says that the device has no such thing.

    Its registers are accessed by calls, which work everywhere. What is used often is mapped.
    """

    def __init__(
        self, device: Device, index: int, name: str, flags: int, keep: Callable[[MappedBar], None]
    ) -> None:
        """`flags` has the low bits of the BAR's register; `keep` is given each mapping."""
        super().__init__(device, index, name)
        self._keep = keep
        self.areas = device.region_info(index).areas
        """the parts that can be mapped"""
        self.io = bool(flags & PCI_BASE_ADDRESS_SPACE_IO)
        """It is I/O ports; else memory."""
        self.wide = not self.io and (
            flags & PCI_BASE_ADDRESS_MEM_TYPE_MASK == PCI_BASE_ADDRESS_MEM_TYPE_64
        )
        """It has a 64-bit address, and the next BAR's register with it."""
        self.prefetchable = not self.io and bool(flags & PCI_BASE_ADDRESS_MEM_PREFETCH)

    def map(self, area: Interval | None = None) -> MappedBar:
        """Map it; offsets stay the BAR's own.

        Without an area it is mapped as far as the device allows: accesses to the rest, such as
        the page of an MSI-X table or all of a model's registers, go on as calls. An area, of
        whole pages, is mapped or refused. Raises DeviceError, BadAccess for a BAR that the device
        hasn't. Ends with the device at the latest.
        """
        if not self.size:
            what = f"{self.name}: mapping it: the device has no such BAR"
            raise BadAccess(what, "take one whose size is not 0")
        mapped = MappedBar(self, self._device, (area,) if area else self.areas, area)
        self._keep(mapped)
        return mapped


class _Piece(NamedTuple):
    start: int
    end: int
    words: dict[int, memoryview]


class MappedBar(Window):
    """A mapped BAR; a context manager.

    An access inside a mapped area is one load or one store of the processor, of just that width:
    memoryview copies an item of a native format as its C type, and never reads to write.
    """

    def __init__(
        self, bar: Bar, device: Device, areas: tuple[Interval, ...], only: Interval | None
    ) -> None:
        super().__init__(bar.name, bar.size)
        self._bar: Bar | None = bar
        self._only = only
        self.areas = areas
        """what is mapped"""
        self._mappings: list[Mapping] = []
        with ExitStack() as undo:
            for area in areas:
                self._mappings.append(undo.enter_context(device.map_region(bar.index, area)))
            undo.pop_all()
        self._mapped = [
            _Piece(area.start, area.end, {w: m.view.cast(f) for w, f in _FORMATS.items()})
            for area, m in zip(areas, self._mappings, strict=True)
        ]
        self._pieces: list[_Piece] = []
        self._writable: list[_Piece] = []
        self.resume()

    def suspend(self) -> None:
        """Go by calls until resume(): a load or store would find nothing that answers."""
        self._pieces = self._writable = []

    def resume(self) -> None:
        """Use the mapping again."""
        self._pieces = self._mapped
        # What can't be written is refused by the device, as without a mapping.
        self._writable = self._mapped if all(m.writable for m in self._mappings) else []

    def load(self, offset: int, width: int) -> int:
        for start, end, words in self._pieces:
            if start <= offset < end:
                return words[width][(offset - start) // width]
        return self._unmapped(offset).load(offset, width)

    def store(self, offset: int, width: int, value: int) -> None:
        for start, end, words in self._writable:
            if start <= offset < end:
                words[width][(offset - start) // width] = value
                return
        self._unmapped(offset).store(offset, width, value)

    def _unmapped(self, offset: int) -> Bar:
        if self._bar is None:
            raise DeviceGone(f"{self.name}: the mapping is closed")
        if self._only and not self._only.start <= offset < self._only.end:
            raise BadAccess(f"{self.name}: {offset:#x} is not in the mapped {self._only}")
        return self._bar

    @property
    def view(self) -> memoryview:
        """The bytes that are mapped, for memory without side effects: slices move as they like.

        Raises BadAccess if there is not exactly one mapped area.
        """
        if len(self._mappings) != 1:
            found = ", ".join(map(str, self.areas)) or "none"
            cure = "map(area) maps one" if self.areas else "the device lets nothing be mapped"
            raise BadAccess(f"{self.name}: not one mapped area, but {found}", cure)
        return self._mappings[0].view

    def close(self) -> None:
        """Unmap it, once no view is in use any more. Idempotent."""
        self._bar = None
        self._mapped = []
        self.suspend()
        for mapping in self._mappings:
            mapping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
