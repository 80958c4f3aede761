# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A made-up host: sysfs, procfs and /dev as files, and as much of a kernel as binding needs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

VIRTIO = 0x1AF4


class MadeHost:
    """A tree to fill; `write` does what the kernel does when a driver's attribute is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.writes: list[tuple[str, str]] = []
        self.refuse: Callable[[str, str], int] = lambda _path, _text: 0
        """The errno with which to answer a write; 0 lets it be."""
        self.default_drivers: dict[str, str] = {}
        """What a probe without an override binds, by address."""
        for path in ("sys/bus/pci/devices", "sys/kernel/iommu_groups", "dev/vfio", "proc/self"):
            (root / path).mkdir(parents=True)
        self.file("sys/bus/pci/drivers_probe", "")
        for driver in ("vfio-pci", "pcieport"):
            self.driver(driver)
        self.file("dev/vfio/vfio", "")

    # -- making things --

    def file(self, path: str, text: str) -> Path:
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        return where

    def link(self, path: str, target: str) -> None:
        """Both within the root."""
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        if where.is_symlink():
            where.unlink()
        where.symlink_to(os.path.relpath(self.root / target, where.parent))

    def driver(self, name: str) -> None:
        path = f"sys/bus/pci/drivers/{name}"
        self.file(f"{path}/bind", "")
        self.file(f"{path}/unbind", "")

    def function(
        self,
        bdf: str,
        *,
        behind: str = "",
        vendor: int = 0x8086,
        device: int = 0x10D3,
        class_code: int = 0x020000,
        driver: str | None = None,
        group: int | None = None,
        header: int = 0,
        reset: str | None = "flr bus",
    ) -> str:
        """Add a PCI function; returns its path in sys/devices."""
        parent = behind or f"sys/devices/pci{bdf[:7]}"
        path = f"{parent}/{bdf}"
        config = bytearray(64)
        config[0x0E] = header
        (self.root / path).mkdir(parents=True)
        (self.root / path / "config").write_bytes(config)
        for name, value in (
            ("vendor", f"{vendor:#06x}"),
            ("device", f"{device:#06x}"),
            ("subsystem_vendor", f"{vendor:#06x}"),
            ("subsystem_device", "0x0001"),
            ("class", f"{class_code:#08x}"),
            ("revision", "0x01"),
            ("numa_node", "-1"),
            ("driver_override", "(null)"),
            ("resource", "0x00000000fe000000 0x00000000fe01ffff 0x0000000000040200\n" + "0x0 " * 3),
        ):
            self.file(f"{path}/{name}", value + "\n")
        if reset is not None:
            self.file(f"{path}/reset_method", reset + "\n")
        self.link(f"sys/bus/pci/devices/{bdf}", path)
        if driver is not None:
            self._bind(bdf, driver)
        if group is not None:
            self.member(group, bdf, path)
            self.link(f"{path}/iommu_group", f"sys/kernel/iommu_groups/{group}")
            if driver == "vfio-pci":
                self._vfio_appears(bdf)
        return path

    def member(self, group: int, name: str, path: str) -> None:
        """Put a device, of any bus, into a group."""
        self.link(f"sys/kernel/iommu_groups/{group}/devices/{name}", path)
        self.file(f"sys/kernel/iommu_groups/{group}/type", "DMA\n")

    def virtual_function(self, physical: str, number: int, bdf: str, **of: object) -> str:
        path = self.function(bdf, **of)  # type: ignore[arg-type]
        self.link(f"{path}/physfn", f"sys/bus/pci/devices/{physical}")
        where = os.path.realpath(self.root / "sys/bus/pci/devices" / physical)
        link = os.path.relpath(where, self.root)
        self.link(f"{link}/virtfn{number}", path)
        return path

    def block(self, name: str, numbers: str, path: str, *, slaves: tuple[str, ...] = ()) -> str:
        """Add a block device; path is that of the device that it belongs to."""
        where = f"{path}/block/{name}" if "block" not in path else f"{path}/{name}"
        self.file(f"{where}/dev", numbers)
        self.link(f"sys/class/block/{name}", where)
        self.link(f"sys/dev/block/{numbers}", where)
        for slave in slaves:
            self.link(f"{where}/slaves/{slave}", f"sys/class/block/{slave}")
        return where

    def partition(self, name: str, numbers: str, disk: str) -> None:
        where = f"{disk}/{name}"
        self.file(f"{where}/partition", name[-1])
        self.link(f"sys/class/block/{name}", where)
        self.link(f"sys/dev/block/{numbers}", where)

    def mounts(self, *lines: str, process: str = "self") -> None:
        self.file(f"proc/{process}/mountinfo", "".join(f"{line}\n" for line in lines))

    def interface(self, name: str, path: str = "", *, lower: tuple[str, ...] = ()) -> str:
        where = f"{path or 'sys/devices/virtual'}/net/{name}"
        (self.root / where).mkdir(parents=True)
        self.link(f"sys/class/net/{name}", where)
        for other in lower:
            self.link(f"{where}/lower_{other}", f"sys/class/net/{other}")
        return where

    def routes(self, *rows: tuple[str, str, int]) -> None:
        """(interface, network in CIDR, metric) of IPv4."""
        import ipaddress
        import sys

        def order(address: ipaddress.IPv4Address) -> str:
            return f"{int.from_bytes(address.packed, sys.byteorder):08X}"

        lines = ["Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"]
        for interface, cidr, metric in rows:
            net = ipaddress.IPv4Network(cidr)
            fields = (interface, order(net.network_address), "0", "0003", 0, 0, metric)
            lines.append("\t".join(map(str, (*fields, order(net.netmask), 0, 0, 0))))
        self.file("proc/net/route", "\n".join(lines) + "\n")

    def process(self, pid: int, command: str, *files: str) -> None:
        """A process that has files, which are paths as it knows them, open."""
        self.file(f"proc/{pid}/comm", command + "\n")
        fds = self.root / f"proc/{pid}/fd"
        fds.mkdir(parents=True)
        for number, target in enumerate(files):
            (fds / str(number)).symlink_to(target)

    # -- being asked --

    def driver_of(self, bdf: str) -> str | None:
        link = self.root / "sys/bus/pci/devices" / bdf / "driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def override_of(self, bdf: str) -> str:
        return (self.root / "sys/bus/pci/devices" / bdf / "driver_override").read_text().strip()

    def records(self) -> list[str]:
        where = self.root / "run/pyvmm/bindings"
        return sorted(os.listdir(where)) if where.exists() else []

    # -- the kernel's part --

    def write(self, path: str, text: str) -> None:
        """What to put in the place of sysfs.write."""
        number = self.refuse(path, text)
        if number:
            raise OSError(number, os.strerror(number))
        self.writes.append((os.path.relpath(path, self.root), text))
        name = os.path.basename(path)
        if name == "driver_override":
            Path(path).write_text(text if text.strip() else "(null)\n")
        elif name == "unbind":
            self._unbind(text)
        elif name == "bind":
            driver = os.path.basename(os.path.dirname(path))
            if self.override_of(text) not in ("(null)", driver):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            self._bind(text, driver)
        elif name == "drivers_probe" and self.driver_of(text) is None:
            override = self.override_of(text)
            driver = self.default_drivers.get(text, "") if override == "(null)" else override
            if driver:
                self._bind(text, driver)

    def _bind(self, bdf: str, driver: str) -> None:
        self.driver(driver)
        path = os.path.realpath(self.root / "sys/bus/pci/devices" / bdf)
        where = os.path.relpath(path, self.root)
        self.link(f"{where}/driver", f"sys/bus/pci/drivers/{driver}")
        if driver == "vfio-pci" and os.path.islink(os.path.join(path, "iommu_group")):
            self._vfio_appears(bdf)

    def _unbind(self, bdf: str) -> None:
        device = self.root / "sys/bus/pci/devices" / bdf
        (device / "driver").unlink()
        group = os.path.basename(os.readlink(device / "iommu_group"))
        (self.root / "dev/vfio" / group).unlink(missing_ok=True)
        if (device / "vfio-dev").is_dir():
            for name in os.listdir(device / "vfio-dev"):
                (self.root / "dev/vfio/devices" / name).unlink()
            shutil.rmtree(device / "vfio-dev")

    def _vfio_appears(self, bdf: str) -> None:
        link = self.root / "sys/bus/pci/devices" / bdf / "iommu_group"
        self.file(f"dev/vfio/{os.path.basename(os.readlink(link))}", "")
