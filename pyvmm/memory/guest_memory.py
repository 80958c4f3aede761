# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""GuestMemory: the guest-physical map of everything the guest reaches without an exit.

It owns RAM and announces every region to its observers: KVM's memslots and each device's DMA
space. Nothing else in pyvmm maps memory into a guest or an IOMMU.
"""

from __future__ import annotations

import threading
from itertools import product

from . import layout
from .backing import SHARED, Backing
from .errors import BadGuestAddress, GuestMemoryError, Overlap
from .region import RAM, MemoryRegion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class MemoryObserver(Protocol):
        """Told of every region: on joining of those there are, then of each change."""

        def region_added(self, region: MemoryRegion, /) -> None: ...

        def region_removed(self, region: MemoryRegion, /) -> None: ...


class GuestMemory:
    """Guest RAM, and the regions around it. Safe to call from any thread.

    A context manager; closing it unmaps what it owns. Observers must have let go before.

    What an observer fails to let go of stays in the map, and its memory where it is, until then:
    addresses that the guest may still reach are nobody else's, in this process either.
    """

    def __init__(self, ram_size: int, backing: str = SHARED) -> None:
        """Give the guest ram_size bytes of RAM: up to the PCI hole, the rest from 4 GiB.

        Raises OutOfHostMemory.
        """
        self.ram_size = ram_size
        self._lock = threading.RLock()
        # In order of their addresses. Changed with the lock, by putting another in its place: who
        # looks at it needs no lock, which is held while observers take their time.
        self._regions: tuple[MemoryRegion, ...]
        self._observers: list[MemoryObserver] = []
        self._owned: dict[int, Backing] = {}
        low = min(ram_size, layout.LOW_RAM_LIMIT)
        ram = Backing("guest-ram", ram_size, backing)
        self._ram = ram
        self._regions = (self._ram_region(0, 0, low, "low RAM"),)
        if ram_size > low:
            high = self._ram_region(layout.HIGH_RAM_BASE, low, ram_size - low, "high RAM")
            self._regions += (high,)

    def _ram_region(self, gpa: int, offset: int, size: int, name: str) -> MemoryRegion:
        ram = self._ram
        return MemoryRegion(
            gpa,
            size,
            host=ram.address + offset,
            kind=RAM,
            name=name,
            fd=ram.fd,
            offset=offset,
            buffer=ram.buffer[offset : offset + size],
        )

    def __enter__(self) -> GuestMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap and close RAM and whatever allocate() made. Idempotent."""
        with self._lock:
            if self._observers:
                raise GuestMemoryError("guest memory closed while it still has observers")
            for region in self._regions:
                if region.buffer is not None:
                    region.buffer.release()
            self._regions = ()
            for backing in (*self._owned.values(), self._ram):
                backing.close()
            self._owned.clear()

    # -- the map ------------------------------------------------------------------------------

    @property
    def regions(self) -> tuple[MemoryRegion, ...]:
        """All regions, in order of their addresses."""
        return self._regions

    def add_observer(self, observer: MemoryObserver) -> None:
        """Tell observer of every region there is and from now on of every change."""
        with self._lock:
            told: list[MemoryRegion] = []
            try:
                for region in self._regions:
                    observer.region_added(region)
                    told.append(region)
            except BaseException:
                self._let_go([observer], reversed(told))
                raise
            self._observers.append(observer)

    def remove_observer(self, observer: MemoryObserver) -> None:
        """Have observer undo all it was told of, in reverse.

        It is tried for each region; then the first error is raised. What is left is gone before
        close(): with the VM, or the DMA space.
        """
        with self._lock:
            self._observers.remove(observer)
            error = self._let_go([observer], reversed(self._regions))
            if error is not None:
                raise error

    def add_region(self, region: MemoryRegion) -> None:
        """Add a region whose memory somebody else owns (a mapped BAR), and announce it.

        Raises Overlap, or what an observer raises; then nothing has changed, unless one that has
        it already fails to let go of it.
        """
        with self._lock:
            self.check_free(region.gpa, region.size, region.name)
            told: list[MemoryObserver] = []
            try:
                for observer in self._observers:
                    observer.region_added(region)
                    told.append(observer)
            except BaseException:
                if self._let_go(reversed(told), [region]) is not None:
                    self._enter(region)
                raise
            self._enter(region)

    def _enter(self, region: MemoryRegion) -> None:
        self._regions = tuple(sorted((*self._regions, region), key=_by_address))

    @staticmethod
    def _let_go(
        observers: Iterable[MemoryObserver], regions: Iterable[MemoryRegion]
    ) -> Exception | None:
        """Have each observer undo each region. Returns the first error, after all were asked."""
        first: Exception | None = None
        for observer, region in product(observers, regions):
            try:
                observer.region_removed(region)
            except Exception as error:
                first = first or error
        return first

    def remove_region(self, region: MemoryRegion) -> None:
        """Take a region back; when this returns no observer uses it any more.

        Raises what an observer raises: then it stays in the map to the end.
        """
        with self._lock:
            error = self._let_go(reversed(self._observers), [region])
            if error is not None:
                raise error
            at = self._regions.index(region)
            self._regions = self._regions[:at] + self._regions[at + 1 :]
            backing = self._owned.pop(region.gpa, None)
            if backing is not None:
                if region.buffer is not None:
                    region.buffer.release()
                backing.close()

    def allocate(self, gpa: int, size: int, kind: str, name: str) -> MemoryRegion:
        """Add a region of new, zeroed memory that this object owns (a ROM, say).

        gpa and size are whole pages. Raises Overlap, OutOfHostMemory.
        """
        with self._lock:
            self.check_free(gpa, size, name)
            backing = Backing(name, size)
            region = MemoryRegion(
                gpa,
                size,
                host=backing.address,
                kind=kind,
                name=name,
                fd=backing.fd,
                buffer=backing.buffer[:size],
            )
            self._owned[gpa] = backing
            try:
                self.add_region(region)
            except BaseException:
                if region not in self._regions:
                    assert region.buffer is not None
                    region.buffer.release()
                    self._owned.pop(gpa).close()
                raise
            return region

    def check_free(self, gpa: int, size: int, name: str) -> None:
        """Raise Overlap if any of [gpa, gpa + size) is taken."""
        with self._lock:
            for other in self._regions:
                if gpa < other.end and other.gpa < gpa + size:
                    raise Overlap(
                        f"{name} at {gpa:#x}-{gpa + size - 1:#x} overlaps {other.name} "
                        f"at {other.gpa:#x}-{other.end - 1:#x}"
                    )

    # -- its contents -------------------------------------------------------------------------

    def view(self, gpa: int, size: int) -> memoryview:
        """A window on size bytes at gpa, all of one region. Raises BadGuestAddress."""
        if gpa >= 0 and size >= 0:
            for region in self._regions:
                if region.gpa <= gpa and gpa + size <= region.end and region.buffer is not None:
                    start = gpa - region.gpa
                    return region.buffer[start : start + size]
        raise BadGuestAddress(gpa, size)

    def read(self, gpa: int, size: int) -> bytes:
        """Copy size bytes at gpa, across adjoining regions too. Raises BadGuestAddress."""
        return b"".join(self._spans(gpa, size))

    def write(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        """Copy data to gpa, all of it or nothing. Raises BadGuestAddress."""
        done = 0
        for span in self._spans(gpa, len(data)):
            span[:] = data[done : done + len(span)]
            done += len(span)

    def _spans(self, gpa: int, size: int) -> list[memoryview]:
        spans: list[memoryview] = []
        at, end = gpa, gpa + size
        for region in self.regions:
            if at >= end or at < region.gpa:
                break
            if at < region.end and region.buffer is not None:
                start = at - region.gpa
                stop = min(end, region.end) - region.gpa
                spans.append(region.buffer[start:stop])
                at = region.gpa + stop
        if at != end or size < 0:
            raise BadGuestAddress(gpa, size)
        return spans


def _by_address(region: MemoryRegion) -> int:
    return region.gpa
