# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""MadeVfio: as much of the kernel's VFIO and iommufd as DMA spaces need, on a made-up host.

It keeps what the kernel keeps, and refuses what the kernel refuses: a group that is in use does
not leave its container, a type1 container forgets its mappings with its last group, an object
of iommufd that is in use can't be destroyed. Who has what open it reads off /proc/self/fd.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyvmm.uapi import iommufd, vfio
from pyvmm.vfio import Interval
from tests.unit.vfio.host.made_host import MadeHost

MSI = Interval(0xFEE00000, 0xFEF00000)
APERTURE = 1 << 39
NAMES = {
    number: name
    for module, prefix in ((iommufd, "IOMMU_"), (vfio, "VFIO_"))
    for name, number in vars(module).items()
    if name.startswith(prefix) and isinstance(number, int) and number >> 8 == 0x3B
}
# These numbers mean something else to devices, of which there are only files here.
NAMES |= {vfio.VFIO_IOMMU_GET_INFO: "VFIO_IOMMU_GET_INFO"}
NAMES |= {vfio.VFIO_IOMMU_MAP_DMA: "VFIO_IOMMU_MAP_DMA"}
NAMES |= {vfio.VFIO_IOMMU_UNMAP_DMA: "VFIO_IOMMU_UNMAP_DMA"}
NAMES |= {vfio.VFIO_IOMMU_DIRTY_PAGES: "VFIO_IOMMU_DIRTY_PAGES"}
ON_DEVICES = {
    vfio.VFIO_DEVICE_BIND_IOMMUFD: "VFIO_DEVICE_BIND_IOMMUFD",
    vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT: "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
    vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT: "VFIO_DEVICE_DETACH_IOMMUFD_PT",
    vfio.VFIO_DEVICE_GET_INFO: "VFIO_DEVICE_GET_INFO",
}


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class MadeVfio:
    def __init__(self, host: MadeHost) -> None:
        self.host = host
        self.root = str(host.root)
        host.file("dev/iommu", "")
        self.log: list[str] = []
        """The names of all calls that were not questions."""
        self.extensions = {
            vfio.VFIO_TYPE1_IOMMU,
            vfio.VFIO_TYPE1v2_IOMMU,
            vfio.VFIO_NOIOMMU_IOMMU,
            vfio.VFIO_UNMAP_ALL,
        }
        self.failures: dict[str, int] = {}
        """By name of a call: the errno it gets, once."""
        self.refusals: dict[str, int] = {}
        """Likewise, and always."""
        self.unviable: set[int] = set()
        self.status_has_container = False
        self.container_of: dict[int, int] = {}
        self.iommu: int | None = None
        self.mapped: dict[Interval, tuple[int, int]] = {}
        """What the IOMMU has: address (or offset in a file) and flags."""
        self.hardware = 0
        self.bound: dict[str, int] = {}
        self.attached: dict[str, int] = {}
        self.hwpts: dict[int, bool] = {}
        self.ioases: set[int] = set()
        self.next_id = 1
        self.dirty = False
        self.compat: int | None = None
        self.options: dict[tuple[int, int], int] = {}
        self.allowed: list[tuple[int, int]] = []
        self.token = ""

    # -- making devices --

    def device(self, bdf: str, group: int, *, no_iommu: bool = False, cdev: bool = True) -> None:
        path = self.host.function(bdf, driver="vfio-pci", group=group)
        name = f"noiommu-{group}" if no_iommu else f"{group}"
        self.host.file(f"dev/vfio/{name}", "")
        reserved = f"{MSI.start:#018x} {MSI.end - 1:#018x} msi\n"
        self.host.file(f"sys/kernel/iommu_groups/{group}/reserved_regions", reserved)
        if no_iommu:
            self.host.file(f"sys/kernel/iommu_groups/{group}/name", "vfio-noiommu\n")
        self.host.file(f"fake/{bdf}", "")
        if cdev:
            vfio_name = f"vfio{int(bdf[5:7], 16)}{bdf[-1]}"
            self.host.file(f"{path}/vfio-dev/{vfio_name}/dev", "511:0\n")
            self.host.file(f"dev/vfio/devices/{vfio_name}", "")

    # -- being asked --

    def open_files(self, path: str) -> int:
        """How many descriptors of this process are of a file of the host's."""
        return sum(target == path for target in self._targets())

    def _targets(self) -> list[str]:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), self.root))
            except OSError:
                continue
        return found

    @property
    def devices_open(self) -> list[str]:
        return sorted(
            target.removeprefix("fake/") for target in self._targets() if target.startswith("fake/")
        )

    # -- the kernel's part --

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> int:
        path = os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), self.root)
        on_device = path.startswith(("fake/", "dev/vfio/devices/")) or path.endswith("/dev/null")
        name = (ON_DEVICES if on_device else NAMES).get(request, hex(request))
        if name in self.failures:
            raise fail(self.failures.pop(name))
        if name in self.refusals:
            raise fail(self.refusals[name])
        handler: Callable[..., int | None] | None = getattr(self, name.lower(), None)
        if handler is None:
            raise fail(errno.ENOTTY)
        if not any(word in name for word in ("GET_INFO", "STATUS", "VERSION", "CHECK", "RANGES")):
            self.log.append(name)
        return handler(fd, path, arg) or 0

    # Containers.

    def vfio_get_api_version(self, fd: int, path: str, arg: int) -> int:
        return 0

    def vfio_check_extension(self, fd: int, path: str, arg: int) -> int:
        return int(arg in self.extensions)

    def vfio_set_iommu(self, fd: int, path: str, arg: int) -> None:
        if not self.container_of:
            raise fail(errno.EINVAL)
        self.iommu = arg

    def vfio_iommu_get_info(self, fd: int, path: str, arg: Any) -> None:
        self._has_iommu()
        ranges = (Interval(0, MSI.start), Interval(MSI.end, APERTURE))
        chain = b""
        for id, body in (
            (
                vfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
                (65535 - len(self.mapped)).to_bytes(8, "little"),
            ),
            (
                vfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
                len(ranges).to_bytes(8, "little")
                + b"".join(
                    i.start.to_bytes(8, "little") + (i.end - 1).to_bytes(8, "little")
                    for i in ranges
                ),
            ),
            (
                vfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
                bytes(8) + (4096).to_bytes(8, "little") + (1 << 28).to_bytes(8, "little"),
            ),
        ):
            end = 32 + len(chain) + 8 + len(body)
            last = id == vfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION
            header = vfio.vfio_info_cap_header(id, 1, 0 if last else end)
            chain += bytes(header) + body
        room = ctypes.sizeof(arg) >= 32 + len(chain)
        info = vfio.vfio_iommu_type1_info(
            32 + len(chain),
            vfio.VFIO_IOMMU_INFO_PGSIZES | vfio.VFIO_IOMMU_INFO_CAPS,
            0x40201000,
            32 if room else 0,
        )
        whole = bytes(info).ljust(32, b"\0") + chain
        ctypes.memmove(arg, whole, min(len(whole), ctypes.sizeof(arg)))

    def vfio_iommu_map_dma(self, fd: int, path: str, arg: Any) -> None:
        self._has_iommu()
        self._map(Interval.sized(arg.iova, arg.size), arg.vaddr, arg.flags)

    def vfio_iommu_unmap_dma(self, fd: int, path: str, arg: Any) -> None:
        self._has_iommu()
        if arg.flags & vfio.VFIO_DMA_UNMAP_FLAG_ALL:
            self.mapped.clear()
        elif self.mapped.pop(Interval.sized(arg.iova, arg.size), None) is None:
            arg.size = 0

    def vfio_iommu_dirty_pages(self, fd: int, path: str, arg: Any) -> None:
        flags = getattr(arg, "head", arg).flags
        if flags == vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
            if not self.dirty or Interval.sized(arg.get.iova, arg.get.size) not in self.mapped:
                raise fail(errno.EINVAL)
            ctypes.memmove(arg.get.bitmap.data, b"\x05", 1)
        else:
            self.dirty = flags == vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START

    # Groups.

    def vfio_group_get_status(self, fd: int, path: str, arg: Any) -> None:
        if _number(path) not in self.unviable:
            arg.flags = vfio.VFIO_GROUP_FLAGS_VIABLE
        if self.status_has_container:
            arg.flags |= vfio.VFIO_GROUP_FLAGS_CONTAINER_SET

    def vfio_group_set_container(self, fd: int, path: str, arg: int) -> None:
        if _number(path) in self.container_of:
            raise fail(errno.EINVAL)
        self.container_of[_number(path)] = ctypes.c_int32.from_address(arg).value

    def vfio_group_unset_container(self, fd: int, path: str, arg: int) -> None:
        number = _number(path)
        if any(self._group_of(bdf) == number for bdf in self.devices_open):
            raise fail(errno.EBUSY)
        container = self.container_of.pop(number)
        compat = os.readlink(f"/proc/self/fd/{container}").endswith("dev/iommu")
        if not self.container_of and not compat:
            self.iommu = None
            self.mapped.clear()

    def vfio_group_get_device_fd(self, fd: int, path: str, arg: Any) -> int:
        bdf = arg.value.decode().split()[0]
        self.token = arg.value.decode()[len(bdf) :]
        if self.iommu is None or self._group_of(bdf) != _number(path):
            raise fail(errno.EINVAL)
        return os.open(f"{self.root}/fake/{bdf}", os.O_RDWR | os.O_CLOEXEC)

    # Devices.

    def vfio_device_get_info(self, fd: int, path: str, arg: Any) -> None:
        info = vfio.vfio_device_info(24, vfio.VFIO_DEVICE_FLAGS_PCI, 9, 5)
        ctypes.memmove(arg, bytes(info), ctypes.sizeof(info))

    def vfio_device_bind_iommufd(self, fd: int, path: str, arg: Any) -> None:
        if path in self.bound and self.open_files(path) > 1:
            raise fail(errno.EINVAL)
        assert os.readlink(f"/proc/self/fd/{arg.iommufd}").endswith("dev/iommu")
        self.bound[path] = arg.out_devid = self._new_id()

    def vfio_device_attach_iommufd_pt(self, fd: int, path: str, arg: Any) -> None:
        assert arg.pt_id in self.ioases | set(self.hwpts)
        self.attached[path] = arg.pt_id

    # iommufd.

    def iommu_ioas_alloc(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        arg.out_ioas_id = self._new_id()
        self.ioases.add(arg.out_ioas_id)

    def iommu_ioas_iova_ranges(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        self._live()
        ranges = [Interval(n << 40, (n << 40) + 0x1000) for n in range(1, 40)]
        if self.attached:
            ranges = [Interval(0, MSI.start), Interval(MSI.end, APERTURE)]
        given = arg.num_iovas
        arg.num_iovas = len(ranges)
        arg.out_iova_alignment = 0x1000 if self.attached else 1
        if len(ranges) > given:
            raise fail(errno.EMSGSIZE)
        for number, i in enumerate(ranges):
            entry = iommufd.iommu_iova_range(i.start, i.end - 1)
            ctypes.memmove(arg.allowed_iovas + 16 * number, bytes(entry), 16)

    def iommu_ioas_allow_iovas(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        table = (iommufd.iommu_iova_range * arg.num_iovas).from_address(arg.allowed_iovas)
        self.allowed = [(entry.start, entry.last) for entry in table]

    def iommu_ioas_map(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        assert arg.ioas_id in self.ioases
        self._map(Interval.sized(arg.iova, arg.length), arg.user_va, arg.flags)

    def iommu_ioas_unmap(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        if (arg.iova, arg.length) == (0, (1 << 64) - 1):
            self.mapped.clear()
        elif self.mapped.pop(Interval.sized(arg.iova, arg.length), None) is None:
            raise fail(errno.ENOENT)

    def iommu_option(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        key = (arg.option_id, arg.object_id)
        if arg.op == iommufd.IOMMU_OPTION_OP_SET:
            self.options[key] = arg.val64
        arg.val64 = self.options.get(key, 1)

    def iommu_vfio_ioas(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        if arg.op == iommufd.IOMMU_VFIO_IOAS_GET:
            if self.compat is None:
                raise fail(errno.ENODEV)
            arg.ioas_id = self.compat
        else:
            self.compat = arg.ioas_id if arg.op == iommufd.IOMMU_VFIO_IOAS_SET else None

    def iommu_get_hw_info(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        arg.out_capabilities = self.hardware

    def iommu_hwpt_alloc(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        assert arg.dev_id in self.bound.values()
        assert arg.pt_id in self.ioases
        assert arg.flags == iommufd.IOMMU_HWPT_ALLOC_DIRTY_TRACKING
        arg.out_hwpt_id = self._new_id()
        self.hwpts[arg.out_hwpt_id] = False

    def iommu_hwpt_set_dirty_tracking(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        self.hwpts[arg.hwpt_id] = bool(arg.flags)

    def iommu_hwpt_get_dirty_bitmap(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        assert self.hwpts[arg.hwpt_id]
        ctypes.memmove(arg.data, bytes([1 << list(self.hwpts).index(arg.hwpt_id)]), 1)

    def iommu_destroy(self, fd: int, path: str, arg: Any) -> None:
        _check(arg)
        self._live()
        if arg.id in self.attached.values() or (arg.id in self.ioases and self.hwpts):
            raise fail(errno.EBUSY)
        self.hwpts.pop(arg.id, None)
        self.ioases.discard(arg.id)

    def _map(self, interval: Interval, where: int, flags: int) -> None:
        attached = self.attached or self.container_of
        if attached and (interval.overlaps(MSI) or interval.end > APERTURE):
            raise fail(errno.EINVAL)
        if any(interval.overlaps(other) for other in self.mapped):
            raise fail(errno.EEXIST)
        self.mapped[interval] = (where, flags)

    def _has_iommu(self) -> None:
        if self.iommu is None:
            raise fail(errno.EINVAL)

    def _live(self) -> None:
        """Forget devices whose files are closed."""
        for path in [path for path in self.bound if not self.open_files(path)]:
            del self.bound[path]
            self.attached.pop(path, None)

    def _group_of(self, bdf: str) -> int:
        link = Path(self.root) / "sys/bus/pci/devices" / bdf / "iommu_group"
        return int(os.path.basename(os.readlink(link)))

    def _new_id(self) -> int:
        self.next_id += 1
        return self.next_id


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].rpartition("-")[2])


def _check(arg: Any) -> None:
    assert arg.size == ctypes.sizeof(arg)
