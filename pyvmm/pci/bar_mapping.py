# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""BarMapping: a BAR's place in the guest's address space, which it moves to and leaves.

The whole BAR is one area of the AddressMap, whose handler answers every access that exits. On
top of it the mapped parts are memory, where accesses don't exit, and doorbells are KVM's. So a
part that can't be mapped, or a doorbell that KVM doesn't take, is slower and nothing else.

A BAR smaller than a page is memory only while it has its guest page for itself (lone_page.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypedDict

from pyvmm.kvm import KvmError
from pyvmm.memory import (
    DEVICE,
    AddressMap,
    GuestMemory,
    GuestMemoryError,
    MemoryRegion,
    Overlap,
)
from pyvmm.memory.layout import FIRMWARE_LIMIT, IOAPIC_BASE, PAGE_SIZE
from pyvmm.vfio import IoEventFd, Mapping, VfioError

from .bars import Bar
from .interfaces import Vm
from .lone_page import LonePage

if TYPE_CHECKING:
    from pyvmm.memory import IoHandler

MappedArea = tuple[int, Mapping]
"""(offset in the BAR, the device's memory that is there)."""

_ERRORS = (GuestMemoryError, KvmError, VfioError)


class _How(TypedDict):
    pio: bool
    datamatch: int | None


class BarMapping:
    """One BAR of an assigned device, where the guest has put it. Not locked: its owner is."""

    def __init__(
        self,
        bar: Bar,
        name: str,
        handler: IoHandler,
        space: AddressMap,
        *,
        memory: GuestMemory,
        mapped: Sequence[MappedArea] = (),
        vm: Vm,
        doorbells: Sequence[IoEventFd] = (),
        failed: Callable[[str, Exception], None],
    ) -> None:
        """space is the map of ports or of MMIO; mapped areas don't move from here to close().

        failed(kind, error) is told what could not be done for the guest.
        """
        self.bar = bar
        self.name = name
        self.address: int | None = None
        """Where it is now."""
        self._handler = handler
        self._space = space
        self._memory = memory
        self._mapped = mapped
        self._vm = vm
        self._doorbells = doorbells
        self._failed = failed
        self._undo = ExitStack()

    def move(self, address: int | None) -> None:
        """Be at address, or nowhere. Never raises.

        Where something else is already, it is nowhere: the guest finds nothing there of it.
        """
        if address == self.address:
            return
        self.address = None
        try:
            self._undo.close()
        except _ERRORS as error:
            self._failed("BARs not taken back", error)
        if address is None:
            return
        page = None
        if self._mapped and self.bar.size < PAGE_SIZE:
            page = LonePage(self._memory, self._region(address, *self._mapped[0]), self._failed)
        try:
            alone = self._claim(address, page)
        except Overlap as error:
            conflict = Overlap(f"{self.name} is not mapped where the guest put it: {error}")
            self._failed("BARs on top of something else", conflict)
            return
        self.address = address
        if page is not None:
            if alone and not address % PAGE_SIZE:
                page.show()
                self._undo.callback(page.hide)
        else:
            for offset, mapping in self._mapped:
                self._show(self._region(address, offset, mapping))
        for bell in self._doorbells:
            where = (bell.fd, address + bell.offset, bell.size)
            how: _How = {"pio": self.bar.io, "datamatch": bell.datamatch}
            try:
                self._vm.ioeventfd(*where, **how)
                self._undo.callback(self._vm.remove_ioeventfd, *where, **how)
            except KvmError as error:
                self._failed("doorbells not connected", error)

    def _region(self, address: int, offset: int, mapping: Mapping) -> MemoryRegion:
        return MemoryRegion(
            address + offset,
            mapping.size,
            host=mapping.address,
            kind=DEVICE,
            name=self.name,
            pages=mapping.view,
        )

    def _show(self, region: MemoryRegion) -> None:
        try:
            self._memory.add_region(region)
            self._undo.callback(self._memory.remove_region, region)
        except _ERRORS as error:
            self._failed("BAR areas not mapped", error)

    def _claim(self, address: int, page: LonePage | None) -> bool:
        """Take the addresses, or raise Overlap. Tells whether they share no page with others."""
        end = address + self.bar.size
        if not self.bar.io and address < FIRMWARE_LIMIT and end > IOAPIC_BASE:
            raise Overlap(
                f"{address:#x}-{end - 1:#x} overlaps the interrupt controllers or the firmware"
            )
        # First of all, so that whoever is mapped in the same page leaves it.
        alone = self._space.add(
            address, self.bar.size, self._handler, page.crowd if page is not None else None
        )
        try:
            if not self.bar.io:
                self._memory.check_free(address, self.bar.size, self.name)
        except Overlap:
            self._space.remove(address)
            raise
        self._undo.callback(self._space.remove, address)
        return alone

    def close(self) -> None:
        """Be nowhere, and give the device's memory back. Idempotent.

        Where KVM didn't let go of a part, that one's region has it until the VM is gone.
        """
        self.move(None)
        for _, mapping in self._mapped:
            mapping.close()
