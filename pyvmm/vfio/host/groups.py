# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IommuGroup: the devices that an IOMMU can't tell apart, so that they have one owner.

A group is viable, so that VFIO may hand it to a user, when no member is bound to a driver that
does DMA for the kernel. Drivers without DMA of their own don't count (`driver_managed_dma` in the
kernel's source): VFIO's, pcieport's and pci-stub's. Nor do members without a driver.
See Documentation/driver-api/vfio.rst in the kernel's source.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from ..errors import HostDeviceUnavailable
from ..intervals import Interval
from . import sysfs
from .address import is_address
from .functions import HostFunction
from .iommu import no_iommu

_GROUPS = "sys/kernel/iommu_groups"
_HARMLESS_DRIVERS = frozenset({"vfio-pci", "pcieport", "pci-stub"})


class Member(NamedTuple):
    """A device in a group; not each is a PCI function."""

    name: str
    driver: str | None
    harmless: bool
    """Whether the group can be viable with it."""


class ReservedRegion(NamedTuple):
    """IOVAs that can't be mapped for a group."""

    range: Interval
    kind: str
    """One of "msi", "reserved", "direct" and "direct-relaxable", which may be mapped after all."""


class IommuGroup:
    """An IOMMU group of this host. What is asked for is read then."""

    __slots__ = ("number", "path", "root")

    def __init__(self, number: int, *, root: str | os.PathLike[str] = "/") -> None:
        """Raises HostDeviceUnavailable if there is no such group."""
        self.root = os.fspath(root)
        self.number = number
        self.path = os.path.join(self.root, _GROUPS, str(number))
        if not os.path.isdir(self.path):
            raise HostDeviceUnavailable(f"there is no IOMMU group {number} on this host")

    @classmethod
    def of(cls, function: HostFunction) -> IommuGroup:
        """A function's group. Raises HostDeviceUnavailable if it has none, and says why."""
        number = function.group
        if number is None:
            reason, cure = no_group(function.root)
            raise HostDeviceUnavailable(f"{function} has no IOMMU group: {reason}", cure)
        return cls(number, root=function.root)

    def __repr__(self) -> str:
        return f"<IommuGroup {self.number}>"

    @property
    def no_iommu(self) -> bool:
        """Whether VFIO has made it up for a device without an IOMMU."""
        return sysfs.read_text(os.path.join(self.path, "name")) == "vfio-noiommu"

    @property
    def type(self) -> str | None:
        """What the kernel's own DMA goes through: "DMA", "DMA-FQ", "identity", "blocked"."""
        return sysfs.read_text(os.path.join(self.path, "type"))

    @property
    def device_path(self) -> str:
        """The path that VFIO opens the group by, whether it is there yet or not."""
        name = f"noiommu-{self.number}" if self.no_iommu else str(self.number)
        return os.path.join(self.root, "dev/vfio", name)

    @property
    def members(self) -> tuple[Member, ...]:
        """All devices in the group, by name."""
        names = sysfs.listing(os.path.join(self.path, "devices"))
        return tuple(self._member(name) for name in names)

    @property
    def functions(self) -> tuple[HostFunction, ...]:
        """The members that are PCI functions."""
        found = []
        for member in self.members:
            if is_address(member.name):
                with suppress(HostDeviceUnavailable):  # unplugged meanwhile
                    found.append(HostFunction(member.name, root=self.root))
        return tuple(found)

    @property
    def spoilers(self) -> tuple[Member, ...]:
        """The members whose drivers keep the group from being viable."""
        return tuple(member for member in self.members if not member.harmless)

    @property
    def viable(self) -> bool:
        """Whether no member keeps VFIO from handing it out. A group that has its container is
        viable whatever this says: VFIO itself watches over it then.
        """
        return not self.spoilers

    def why_not_viable(self) -> HostDeviceUnavailable | None:
        """Which members spoil the group and what to do; None if none does."""
        spoilers = self.spoilers
        if not spoilers:
            return None
        bound = ", ".join(f"{member.name} is bound to {member.driver}" for member in spoilers)
        them = "it" if len(spoilers) == 1 else "them"
        cure = f"unbind {them}"
        bindable = {function.bdf for function in self.functions if not function.is_bridge}
        names = [member.name for member in spoilers]
        if bindable.issuperset(names):
            cure += f" or give {them} to vfio-pci: `pyvmm bind {' '.join(names)}`"
        return HostDeviceUnavailable(f"group {self.number} is not viable: {bound}", cure)

    def check_viable(self) -> None:
        """Raises HostDeviceUnavailable if it isn't viable; it says why, and what to do."""
        spoilt = self.why_not_viable()
        if spoilt:
            raise spoilt

    def why_the_firmware_keeps_it(self) -> HostDeviceUnavailable | None:
        """The memory with which the firmware itself does DMA; None if there is none.

        Such a group the kernel gives to nobody: the IOVAs would be the user's.
        """
        direct = [str(region.range) for region in self.reserved_regions if region.kind == "direct"]
        if not direct:
            return None
        return HostDeviceUnavailable(
            f"the firmware itself does DMA with group {self.number} (reserved memory, RMRR, at "
            f"IOVA {', '.join(direct)}), so the kernel lets nobody have it",
            "look in the firmware's set-up for a setting that ends its own use of the device",
        )

    @property
    def reserved_regions(self) -> tuple[ReservedRegion, ...]:
        """The IOVAs that can't be mapped, in order."""
        text = sysfs.read_text(os.path.join(self.path, "reserved_regions")) or ""
        found = []
        for line in text.splitlines():
            *numbers, kind = line.split() or ("",)
            match sysfs.hex_numbers(numbers):
                case start, last:
                    found.append(ReservedRegion(Interval(start, last + 1), kind))
        return tuple(found)

    def _member(self, name: str) -> Member:
        path = os.path.join(self.path, "devices", name)
        driver = sysfs.link_name(os.path.join(path, "driver"))
        harmless = (
            driver is None
            or driver in _HARMLESS_DRIVERS
            or bool(sysfs.listing(os.path.join(path, "vfio-dev")))
        )
        return Member(name, driver, harmless)


def groups(*, root: str | os.PathLike[str] = "/") -> list[IommuGroup]:
    """All IOMMU groups of this host, by number."""
    numbers = sysfs.listing(os.path.join(os.fspath(root), _GROUPS))
    return [
        IommuGroup(number, root=root)
        for number in sorted(int(name) for name in numbers if name.isdigit())
    ]


def no_group(root: str | os.PathLike[str] = "/") -> tuple[str, str]:
    """Why a device here may have no IOMMU group, and what to do about it."""
    if groups(root=root):
        return "the IOMMUs that are in use don't cover it, so that it can't be assigned", ""
    return no_iommu(root)
