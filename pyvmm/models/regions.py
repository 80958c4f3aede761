# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Regions of a model: how a BAR and what is in it are declared, and what each becomes.

A `Bar` is declared once, on the model's class; a `BarRegion` is that BAR of one model, with its
memory. What the declaration leaves free is nothing: it reads as all-ones and ignores writes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from pyvmm.uapi.ioctl import failure
from pyvmm.uapi.vfio import (
    VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
)
from pyvmm.vfio import Interval, Mapping, RegionInfo
from pyvmm.vfio.mapping import PAGE_SIZE

from .errors import ModelError
from .registers import Access, Doorbell, Register

if TYPE_CHECKING:
    from .model_device import ModelDevice

_Read = TypeVar("_Read", bound=Callable[[Any, int, int], int])
_Write = TypeVar("_Write", bound=Callable[[Any, int, int, int], None])


class Part(Protocol):
    """What takes the accesses to a part of a BAR; `at` counts from the start of the part."""

    def read(self, model: ModelDevice, at: int, size: int) -> int | None:
        """The value read; None if there is nothing."""

    def write(self, model: ModelDevice, at: int, size: int, value: int) -> bool:
        """Whether there was anything to write."""


class Area(Part, Protocol):
    """A part that takes accesses of every size, anywhere in it."""

    interval: Interval


class Trapped:
    """Addresses whose accesses are given to methods; without any, zeros that can't be changed."""

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self._on_read: Callable[[Any, int, int], int] | None = None
        self._on_write: Callable[[Any, int, int, int], None] | None = None

    def on_read(self, method: _Read) -> _Read:
        """Decorate `method(self, at, size) -> value`; `at` counts from the area's start."""
        self._on_read = method
        return method

    def on_write(self, method: _Write) -> _Write:
        """Decorate `method(self, at, size, value)`; `at` counts from the area's start."""
        self._on_write = method
        return method

    def read(self, model: ModelDevice, at: int, size: int) -> int | None:
        value = self._on_read(model, at, size) if self._on_read else 0
        return value & (1 << 8 * size) - 1

    def write(self, model: ModelDevice, at: int, size: int, value: int) -> bool:
        if self._on_write:
            self._on_write(model, at, size, value)
        return True


class Ram:
    """Bytes that keep what is written to them, also over a reset.

    In methods of the model it is a memoryview of them. Mappable RAM is in a memfd, which the
    VMM maps for its guest; the guest's accesses to it are then not seen by the model.
    """

    def __init__(self, interval: Interval, mappable: bool = False) -> None:
        self.interval = interval
        self.mappable = mappable

    def read(self, model: ModelDevice, at: int, size: int) -> int | None:
        return int.from_bytes(model.ram[self][at : at + size], "little")

    def write(self, model: ModelDevice, at: int, size: int, value: int) -> bool:
        model.ram[self][at : at + size] = value.to_bytes(size, "little")
        return True

    @overload
    def __get__(self, model: None, owner: type) -> Ram: ...

    @overload
    def __get__(self, model: ModelDevice, owner: type) -> memoryview: ...

    def __get__(self, model: ModelDevice | None, owner: type) -> memoryview | Ram:
        return self if model is None else model.ram[self]


class Bar:
    """A base address register of `size` bytes, a power of two, and what is behind it.

    `io` is for I/O ports, `wide` for a 64-bit memory BAR (which takes the next index too).
    """

    def __init__(
        self,
        index: int,
        size: int,
        *,
        io: bool = False,
        wide: bool = False,
        prefetchable: bool = False,
    ) -> None:
        self.index = index
        self.size = size
        self.io = io
        self.wide = wide
        self.prefetchable = prefetchable
        self.registers: list[Register] = []
        self.doorbells: list[Doorbell] = []
        self.areas: list[Area] = []
        self.parts: dict[int, tuple[Part, int]] = {}
        """offset << 4 | size of an access, to the register it is for and the offset in it"""

    def register(
        self,
        offset: int,
        access: Access = "rw",
        *,
        width: int = 4,
        reset: int = 0,
        writable: int = -1,
        sizes: tuple[int, ...] = (),
        partial: bool = True,
    ) -> Register:
        """Declare a register of `width` bytes at `offset`.

        `access` is "rw", "ro", "wo" or "w1c" (write 1 to clear), `reset` its value after a
        reset, `writable` the bits that a write can change. `sizes` are the sizes of access it
        takes, in bytes (otherwise only its own); narrower ones reach parts of it, or, if not
        `partial`, the whole: they are at its offset, and a write extends with zeros.
        """
        register = Register(
            offset,
            access,
            width=width,
            reset=reset,
            writable=writable,
            sizes=sizes or (width,),
            partial=partial,
        )
        for at, size in register.accesses():
            self._take(offset + at, size, register, at)
        self.registers.append(register)
        return register

    def doorbell(self, offset: int, size: int = 4) -> Doorbell:
        """Declare a doorbell, which is rung by writes of `size` bytes at `offset`."""
        doorbell = Doorbell(offset, size)
        self._take(offset, size, doorbell, 0)
        self.doorbells.append(doorbell)
        return doorbell

    def trapped(self, offset: int, size: int) -> Trapped:
        """Declare addresses that read as zero, unless their methods say otherwise.

        Registers may lie in it: they go first.
        """
        area = Trapped(Interval.sized(offset, size))
        self._add(area)
        return area

    def ram(self, offset: int, size: int, *, mappable: bool = False) -> Ram:
        """Declare RAM; mappable RAM is of whole pages, or all of a BAR smaller than that."""
        area = Ram(Interval.sized(offset, size), mappable)
        if mappable and (offset | size) % PAGE_SIZE and not self.size == size < PAGE_SIZE:
            raise ValueError(f"BAR {self.index}: {area.interval} is not of whole pages")
        self._add(area)
        return area

    def check(self, area: Area, others: Iterable[Area]) -> None:
        """Make sure that `area` fits in, beside the others. Raises ValueError."""
        interval = area.interval
        if not Interval(0, self.size).covers(interval):
            raise ValueError(f"BAR {self.index}: {interval} is not within {self.size:#x} bytes")
        if any(interval.overlaps(other.interval) for other in others):
            raise ValueError(f"BAR {self.index}: {interval} is declared twice")
        registers = (key >> 4 for key in self.parts)
        if isinstance(area, Ram) and any(interval.start <= at < interval.end for at in registers):
            raise ValueError(f"BAR {self.index}: there are registers in the RAM at {interval}")

    def _take(self, offset: int, size: int, part: Part, at: int) -> None:
        key = offset << 4 | size
        in_ram = (
            a.interval.start <= offset < a.interval.end for a in self.areas if isinstance(a, Ram)
        )
        if key in self.parts or any(in_ram):
            raise ValueError(f"BAR {self.index}: {offset:#x} is declared twice")
        if size not in (1, 2, 4, 8) or offset % size or offset + size > self.size:
            raise ValueError(f"BAR {self.index}: no access of {size} bytes at {offset:#x}")
        self.parts[key] = (part, at)

    def _add(self, area: Area) -> None:
        self.check(area, self.areas)
        self.areas.append(area)


class Rom:
    """An expansion ROM; its content is a power of two long, 2048 bytes or more."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class BarRegion:
    """One model's BAR: owns the memory that its mappable RAM is in."""

    def __init__(self, bar: Bar, areas: list[Area], name: str) -> None:
        """`areas` are the BAR's and others of this model alone, such as the MSI-X table."""
        self.fd = -1
        self.ram: dict[Ram, memoryview] = {}
        self._parts = bar.parts
        self._areas = areas
        self._mappings: list[Mapping] = []
        mappable = [area for area in areas if isinstance(area, Ram) and area.mappable]
        flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
        if mappable:
            flags |= VFIO_REGION_INFO_FLAG_MMAP
        intervals = tuple(sorted(area.interval for area in mappable))
        self.info = RegionInfo(bar.index, flags, bar.size, areas=intervals)
        self.owns_page = bool(mappable) and bar.size < PAGE_SIZE
        """It is mapped with the rest of its page, in which there is nothing."""
        try:
            if mappable:
                self.fd = _sealed_memfd(f"{name} BAR {bar.index}", max(bar.size, PAGE_SIZE))
            for area in areas:
                if isinstance(area, Ram):
                    self.ram[area] = self._memory(area)
        except BaseException:
            self.close()
            raise

    def _memory(self, area: Ram) -> memoryview:
        if not area.mappable:
            return memoryview(bytearray(area.interval.size))
        mapping = Mapping(self.fd, area.interval.start, area.interval.size, what="model RAM")
        self._mappings.append(mapping)
        return mapping.view

    def cut(self, offset: int, size: int) -> Sequence[tuple[int, int]]:
        """Cut an access into (offset, size) of those a bus would carry: naturally aligned, of
        8 bytes at most. What is in RAM stays whole.
        """
        if size in (1, 2, 4, 8) and offset % size == 0:
            return ((offset, size),)
        return tuple(self._cut(offset, offset + size))

    def _cut(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        while offset < end:
            area = self.area(offset)
            if isinstance(area, Ram):
                size = min(end, area.interval.end) - offset
            else:
                size = next(n for n in (8, 4, 2, 1) if offset % n == 0 and offset + n <= end)
            yield offset, size
            offset += size

    def find(self, offset: int, size: int) -> tuple[Part, int] | None:
        """What takes one of these accesses, and the offset in it; None if nothing does."""
        found = self._parts.get(offset << 4 | size) if size <= 8 else None
        if found is not None:
            return found
        area = self.area(offset)
        if area is None or offset + size > area.interval.end:
            return None
        return area, offset - area.interval.start

    def area(self, offset: int) -> Area | None:
        for area in self._areas:
            if area.interval.start <= offset < area.interval.end:
                return area
        return None

    def close(self) -> None:
        for mapping in self._mappings:
            mapping.close()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


def _sealed_memfd(name: str, size: int) -> int:
    """A memfd whose size nobody who is given it can change: that would be our SIGBUS."""
    fd = -1
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except OSError as error:
        call = "memfd_create" if fd < 0 else "ftruncate, F_ADD_SEALS"
        if fd >= 0:
            os.close(fd)
        doing = f"allocating {size:#x} bytes for {name}"
        raise ModelError(failure(doing, call, error.errno or 0)) from None
    return fd
