# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What stops a guest from having devices of this host, looked at before any of them is touched.

Opening a device resets it, and so does closing it: so all that sysfs and limits can tell is asked
for all devices first. How far an IOMMU reaches is known only when a device is open.
"""

from __future__ import annotations

from pyvmm.doctor import why_not_openable
from pyvmm.memory import DEVICE, layout
from pyvmm.vfio import HostDeviceUnavailable, Interval
from pyvmm.vfio.host import HostFunction, IommuGroup
from pyvmm.vfio.intervals import subtract
from pyvmm.vfio.kernel import Reserved, check_limit, reserved_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyvmm.memory import MemoryRegion


def check_devices(
    addresses: Sequence[str], memory: Iterable[MemoryRegion], *, root: str = "/"
) -> None:
    """Make sure that a guest with this memory can have the devices, as far as can be told.

    Raises HostDeviceUnavailable.
    """
    regions = for_dma(memory)
    for address in addresses:
        function = HostFunction(address, root=root)
        group = _group_of(function)
        for error in (why_not_openable(function), group.why_the_firmware_keeps_it()):
            if error is not None:
                raise error
        for region in regions:
            _check_not_reserved(function, region, reserved_by([group]))
    # Once, also for devices of two back ends: type1 counts what it locks for the process, iommufd
    # for the user, and each compares no other count with the limit.
    size = sum(region.size for region in regions)
    check_limit(size, f"DMA of {', '.join(addresses)} to the guest's memory")


def check_reach(address: str, ranges: Sequence[Interval], memory: Iterable[MemoryRegion]) -> None:
    """Make sure that a device reaches the guest's memory by these IOVAs.

    Raises HostDeviceUnavailable.
    """
    for region in for_dma(memory):
        outside = subtract((_interval(region),), ranges)
        if outside:
            usable = " and ".join(map(str, ranges)) or "nothing"
            raise HostDeviceUnavailable(
                f"{address} can't reach all of the guest's {region.name}, which is at "
                f"{_interval(region)}: its IOMMU reaches {usable}",
                _less_memory(outside[0].start),
            )


def for_dma(memory: Iterable[MemoryRegion]) -> list[MemoryRegion]:
    """The regions that devices reach, and others' BARs are none."""
    return [region for region in memory if region.kind != DEVICE]


def _group_of(function: HostFunction) -> IommuGroup:
    if function.is_bridge:
        raise HostDeviceUnavailable(
            f"{function} is a bridge, through which the host reaches other devices",
            "assign what is behind it; `pyvmm devices` lists that",
        )
    group = IommuGroup.of(function)
    if group.no_iommu:
        raise HostDeviceUnavailable(
            f"{function} has no IOMMU, so a guest that had it could write to all of the host's "
            "memory",
            "switch the IOMMU on (firmware set-up; intel_iommu=on), or use the device from a "
            "driver in user space (pyvmm.vfio.open)",
        )
    return group


def _check_not_reserved(
    function: HostFunction, region: MemoryRegion, reserved: Iterable[Reserved]
) -> None:
    for taken in reserved:
        if taken.range.overlaps(_interval(region)):
            raise HostDeviceUnavailable(
                f"{function} can't reach all of the guest's {region.name}, which is at "
                f"{_interval(region)}: {taken}",
                _less_memory(taken.range.start),
            )


def _interval(region: MemoryRegion) -> Interval:
    return Interval(region.gpa, region.end)


def _less_memory(end: int) -> str:
    """The cure for memory that may go no further than a guest-physical address."""
    most = min(end, layout.LOW_RAM_LIMIT) + max(end - layout.HIGH_RAM_BASE, 0)
    if most < layout.MIB:
        return "no guest can have it: its memory starts there"
    return f"give the guest less memory: {most >> 20}M at most"
