# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostFunction: one PCI function of this host, as sysfs tells of it.

Everything is read when asked for, since drivers come and go. `root` is where the host's sys,
proc and dev are; in a container it may be elsewhere, and tests make trees of their own.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ...uapi.pci_regs import PCI_HEADER_TYPE, PCI_HEADER_TYPE_MASK, PCI_HEADER_TYPE_NORMAL
from ..errors import HostDeviceUnavailable
from ..intervals import Interval
from . import sysfs
from .address import full_address, is_address

_DEVICES = "sys/bus/pci/devices"
_IORESOURCE_IO = 0x100
_IORESOURCE_MEM = 0x200
_IORESOURCE_PREFETCH = 0x2000
_IORESOURCE_MEM_64 = 0x100000
_BARS_AND_ROM = 7

_PLATFORM_BRIDGES = frozenset({0x0600, 0x0601})  # host bridge, ISA bridge


class Resource(NamedTuple):
    """A BAR (0 to 5) or the expansion ROM (6), as the kernel has placed it."""

    number: int
    range: Interval
    """Host-physical addresses, or I/O ports."""
    flags: int

    @property
    def kind(self) -> str:
        """One of "io", "mem32" and "mem64"."""
        if self.flags & _IORESOURCE_IO:
            return "io"
        return "mem64" if self.flags & _IORESOURCE_MEM_64 else "mem32"

    @property
    def prefetchable(self) -> bool:
        return bool(self.flags & _IORESOURCE_PREFETCH)


class HostFunction:
    """A PCI function of this host. Equal to another exactly if the address and root are."""

    __slots__ = ("bdf", "path", "root")

    def __init__(self, bdf: str, *, root: str | os.PathLike[str] = "/") -> None:
        """The function at an address, with or without domain.

        Raises HostDeviceUnavailable if there is none.
        """
        self.root = os.fspath(root)
        self.bdf = full_address(bdf)
        self.path = os.path.join(self.root, _DEVICES, self.bdf)
        if not os.path.isdir(self.path):
            raise HostDeviceUnavailable(
                f"there is no PCI device {self.bdf} on this host",
                "`pyvmm devices` lists those that there are",
            )

    def __repr__(self) -> str:
        return f"<HostFunction {self.bdf}>"

    def __str__(self) -> str:
        return self.bdf

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostFunction):
            return NotImplemented
        return (self.root, self.bdf) == (other.root, other.bdf)

    def __hash__(self) -> int:
        return hash((self.root, self.bdf))

    # -- what it is --

    @property
    def vendor(self) -> int:
        """The vendor ID; 0xffff if the function has just gone. So for the next three."""
        return self._id("vendor")

    @property
    def device(self) -> int:
        return self._id("device")

    @property
    def subsystem_vendor(self) -> int:
        return self._id("subsystem_vendor")

    @property
    def subsystem_device(self) -> int:
        return self._id("subsystem_device")

    @property
    def class_code(self) -> int:
        """Base class, sub-class and programming interface, 24 bits."""
        return sysfs.read_number(self._attribute("class")) or 0

    @property
    def revision(self) -> int:
        return sysfs.read_number(self._attribute("revision")) or 0

    @property
    def is_bridge(self) -> bool:
        """Whether its header is a bridge's: such are the fabric, and can't be assigned."""
        header = sysfs.read_bytes(self._attribute("config"), PCI_HEADER_TYPE + 1) or b""
        if len(header) <= PCI_HEADER_TYPE:
            return self.class_code >> 8 == 0x0604
        return header[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK != PCI_HEADER_TYPE_NORMAL

    @property
    def is_chipset(self) -> bool:
        """Whether it is the bridge to memory or to ISA: the platform itself, by its class."""
        return self.class_code >> 8 in _PLATFORM_BRIDGES

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The BARs and the ROM that are in use."""
        found = []
        lines = (sysfs.read_text(self._attribute("resource")) or "").splitlines()
        for number, line in enumerate(lines[:_BARS_AND_ROM]):
            match sysfs.hex_numbers(line.split()):
                case start, last, flags if flags & (_IORESOURCE_IO | _IORESOURCE_MEM):
                    found.append(Resource(number, Interval(start, last + 1), flags))
        return tuple(found)

    @property
    def reset_methods(self) -> tuple[str, ...]:
        """How the kernel can reset it, in the order in which it tries: "flr", "pm", "bus", ..."""
        methods = sysfs.read_text(self._attribute("reset_method"))
        if methods is None and os.path.exists(self._attribute("reset")):
            return ("unknown",)  # kernels before 5.15 don't tell which
        return tuple((methods or "").split())

    @property
    def numa_node(self) -> int | None:
        node = sysfs.read_number(self._attribute("numa_node"))
        return node if node is not None and node >= 0 else None

    @property
    def boot_vga(self) -> bool:
        """Whether the firmware used it as the display."""
        return sysfs.read_number(self._attribute("boot_vga")) == 1

    # -- SR-IOV --

    @property
    def physical_function(self) -> str | None:
        """The address of the function that this one is a virtual function of."""
        return sysfs.link_name(self._attribute("physfn"))

    @property
    def virtual_functions(self) -> tuple[str, ...]:
        """The addresses of its virtual functions, as far as they are switched on."""
        links = [name for name in sysfs.listing(self.path) if name.startswith("virtfn")]
        links.sort(key=lambda name: (len(name), name))
        return tuple(filter(None, (sysfs.link_name(self._attribute(link)) for link in links)))

    # -- who has it --

    @property
    def driver(self) -> str | None:
        """The driver it is bound to."""
        return sysfs.link_name(self._attribute("driver"))

    @property
    def driver_override(self) -> str | None:
        """The one driver that may be bound to it, if that was set."""
        name = sysfs.read_text(self._attribute("driver_override"))
        return None if name in (None, "", "(null)") else name

    @property
    def group(self) -> int | None:
        """The number of its IOMMU group; None if there is no IOMMU for it."""
        name = sysfs.link_name(self._attribute("iommu_group"))
        return int(name) if name is not None and name.isdigit() else None

    @property
    def vfio_name(self) -> str | None:
        """Its name among VFIO's devices, such as "vfio0"; None if a VFIO driver hasn't got it."""
        return next(iter(sysfs.listing(self._attribute("vfio-dev"))), None)

    @property
    def has_vfio_driver(self) -> bool:
        """Whether it is bound to vfio-pci, or to a variant of it for a certain device."""
        # Kernels before 6.1 have no vfio-dev.
        return self.driver == "vfio-pci" or self.vfio_name is not None

    @property
    def vfio_cdev(self) -> str | None:
        """The path of its device cdev; None if it has none, as without CONFIG_VFIO_DEVICE_CDEV."""
        name = self.vfio_name
        if name is None or not os.path.exists(self._attribute(f"vfio-dev/{name}/dev")):
            return None
        return os.path.join(self.root, "dev/vfio/devices", name)

    def _attribute(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _id(self, name: str) -> int:
        number = sysfs.read_number(self._attribute(name))
        return 0xFFFF if number is None else number


def functions(*, root: str | os.PathLike[str] = "/") -> list[HostFunction]:
    """All PCI functions of this host, by address."""
    names = sysfs.listing(os.path.join(os.fspath(root), _DEVICES))
    found = []
    for name in names:
        if is_address(name):
            try:
                found.append(HostFunction(name, root=root))
            except HostDeviceUnavailable:
                continue  # unplugged meanwhile
    return found
