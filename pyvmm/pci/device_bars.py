# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The BARs of a vfio.Device: what they are, and what of them can be mapped.

Sizes come from region info, never from probing: a device in use can't be probed, and what serves
a device need not know how. What kind of BAR it is, its configuration space tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyvmm.memory.layout import PAGE_SIZE
from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_BASE_ADDRESS_MEM_PREFETCH,
    PCI_BASE_ADDRESS_MEM_TYPE_64,
    PCI_BASE_ADDRESS_MEM_TYPE_MASK,
    PCI_BASE_ADDRESS_SPACE_IO,
    PCI_STD_NUM_BARS,
)
from pyvmm.uapi.vfio import VFIO_PCI_ROM_REGION_INDEX
from pyvmm.vfio import Device, DeviceError, Interval, IoEventFd, Mapping

from . import areas
from .bars import IO, MEM32, MEM64, ROM, ROM_INDEX, Bar
from .config_space import ConfigSpace
from .errors import BadDevice
from .guard import Guard

if TYPE_CHECKING:
    from .bars import Kind


def declare_bars(
    device: Device, config: ConfigSpace, snapshot: ConfigSpace, rom: bytes | None = None
) -> tuple[Bar, ...]:
    """Declare the device's BARs in config; snapshot holds the device's own registers.

    rom is a ROM instead of the device's own; empty, there is none. Raises BadDevice, VfioError.
    """
    bars: list[Bar] = []
    for index in range(PCI_STD_NUM_BARS):
        if bars and bars[-1].kind == MEM64 and bars[-1].index == index - 1:
            continue
        size = device.region_info(index).size
        if size:
            flags = snapshot.u32(PCI_BASE_ADDRESS_0 + 4 * index)
            bars.append(_declare(device, config, index, _kind(flags), size, flags))
    size = device.region_info(VFIO_PCI_ROM_REGION_INDEX).size if rom is None else len(rom)
    if size:
        bars.append(_declare(device, config, ROM_INDEX, ROM, size, 0))
    return tuple(bars)


def _kind(flags: int) -> Kind:
    if flags & PCI_BASE_ADDRESS_SPACE_IO:
        return IO
    wide = flags & PCI_BASE_ADDRESS_MEM_TYPE_MASK == PCI_BASE_ADDRESS_MEM_TYPE_64
    return MEM64 if wide else MEM32


def _declare(
    device: Device, config: ConfigSpace, index: int, kind: Kind, size: int, flags: int
) -> Bar:
    prefetchable = kind in (MEM32, MEM64) and bool(flags & PCI_BASE_ADDRESS_MEM_PREFETCH)
    try:
        return Bar(config, index, kind, size, prefetchable)
    except ValueError as error:
        raise BadDevice(f"{device.name}: {error}") from None


def map_areas(
    device: Device, bar: Bar, held: Iterable[Interval], guard: Guard
) -> list[tuple[int, Mapping]]:
    """Map what the device lets us map of a memory BAR, except for pages with held bytes.

    Returns (offset in the BAR, mapping) pairs, which are the caller's to close. What the device
    refuses to map after all stays trapped, which is slow but works. Raises VfioError.
    """
    info = device.region_info(bar.index)
    # One that is only half accessible would end the guest at the first wrong access.
    if bar.io or bar.kind == ROM or not (info.mappable and info.readable and info.writable):
        return []
    wanted = areas.split(info.size, info.areas, held).mapped
    if device.owns_page(bar.index) and not any(held):
        wanted = (Interval(0, PAGE_SIZE),)
    mapped: list[tuple[int, Mapping]] = []
    try:
        for area in wanted:
            try:
                mapped.append((area.start, device.map_region(bar.index, area)))
            except DeviceError as error:
                guard.failed("BAR areas not mapped", error)
    except BaseException:
        for _, mapping in mapped:
            mapping.close()
        raise
    return mapped


def doorbells(device: Device, bar: Bar, held: Iterable[Interval]) -> list[IoEventFd]:
    """The doorbells of a BAR that KVM may ring by itself: those that nobody wants to see."""
    size = device.region_info(bar.index).size
    found: list[IoEventFd] = []
    for bell in device.ioeventfds(bar.index):
        place = Interval.sized(bell.offset, max(bell.size, 1))
        if Interval(0, size).covers(place) and not any(place.overlaps(taken) for taken in held):
            found.append(bell)
    return found
