# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions beneath the mounted file systems and the swap space.

From a mount down: overlays and loop devices lead to other mounts; partitions, device-mapper and
md (their `slaves`) and NVMe multipath to other block devices; those to the function they hang on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pyvmm.vfio.host import HostFunction, functions, sysfs

from .ancestry import functions_above
from .mounts import Mount, Mounts, mount_of, mounts, overlay_layers, unescaped
from .needs import Need

_MASS_STORAGE = 0x01


def disk_needs(*, root: str | os.PathLike[str] = "/") -> list[Need]:
    """A Need for each mounted file system and each swap space that hangs on PCI functions."""
    host = os.fspath(root)
    needs: dict[str, frozenset[str]] = {}
    for table in mounts(root=host):
        for mount in _each_once(table):
            trace = _Trace(host, table)
            above = trace.of_mount(mount)
            if above:
                what = _what(mount.point, trace.certain)
                needs[what] = needs.get(what, frozenset()) | above
    swap = _swap(host)
    if swap:
        needs["holds swap space that is in use"] = swap
    return [Need(what, (above,)) for what, above in needs.items()]


def _each_once(table: Mounts) -> Iterable[Mount]:
    """Of the mounts of one file system the one at the shortest path: the others are bind mounts."""
    first: dict[str, Mount] = {}
    for mount in sorted(table, key=lambda mount: len(mount.point)):
        first.setdefault(mount.device, mount)
    return first.values()


def _what(point: str, certain: bool) -> str:
    verb = "holds" if certain else "may hold"
    if point == "/":
        return f"{verb} the root file system"
    return f"{verb} a file system that is mounted at {point}"


def _swap(root: str) -> frozenset[str]:
    tables = mounts(root=root)
    trace = _Trace(root, tables[-1] if tables else ())
    lines = (sysfs.read_text(os.path.join(root, "proc/swaps")) or "").splitlines()[1:]
    above: frozenset[str] = frozenset()
    for line in lines:
        path, kind, *_ = map(unescaped, (*line.split(), "", ""))
        above |= trace.of_source(path) if kind == "partition" else trace.of_path(path)
    return above


class _Trace:
    """One way down; what was seen before isn't gone into again, so that cycles end."""

    def __init__(self, root: str, table: Mounts) -> None:
        self._root = root
        self._table = table
        self._seen: set[str | Mount] = set()
        self.certain = True
        """Whether nothing had to be guessed."""

    def of_mount(self, mount: Mount) -> frozenset[str]:
        if mount in self._seen:
            return frozenset()
        self._seen.add(mount)
        device = self._path("sys/dev/block", mount.device)
        if os.path.exists(device):
            return self._of_block(os.path.realpath(device))
        match mount.kind:
            case "overlay":
                return self._of_overlay(mount)
            case "btrfs":
                return self._of_btrfs(mount)
            case "9p":
                return self._of_9p(mount)
            case "virtiofs":
                return self._of_virtiofs(mount)
            case "zfs":
                return self._any_storage()
        return self.of_source(mount.source)

    def of_path(self, path: str) -> frozenset[str]:
        mount = mount_of(path, self._table)
        return frozenset() if mount is None else self.of_mount(mount)

    def of_source(self, source: str) -> frozenset[str]:
        """The functions beneath /dev/NAME, or several of them (bcachefs: with colons between)."""
        above: frozenset[str] = frozenset()
        for name in source.split(":"):
            if name.startswith("/dev/"):
                real = os.path.realpath(self._path(name.lstrip("/")))
                above |= self._of_block_name(os.path.basename(real))
        return above

    def _of_block_name(self, name: str) -> frozenset[str]:
        path = self._path("sys/class/block", name)
        return self._of_block(os.path.realpath(path)) if os.path.exists(path) else frozenset()

    def _of_block(self, device: str) -> frozenset[str]:
        if device in self._seen:
            return frozenset()
        self._seen.add(device)
        above = functions_above(device, root=self._root)
        if os.path.exists(os.path.join(device, "partition")):
            above |= self._of_block(os.path.dirname(device))
        for slave in sysfs.listing(os.path.join(device, "slaves")):
            above |= self._of_block_name(slave)
        for controller in _nvme_paths(device):
            above |= functions_above(controller, root=self._root)
        file = sysfs.read_text(os.path.join(device, "loop/backing_file"))
        if file:
            above |= self.of_path(file)
        return above

    def _of_overlay(self, mount: Mount) -> frozenset[str]:
        above: frozenset[str] = frozenset()
        for layer in overlay_layers(mount):
            beneath = mount_of(layer, self._table)
            if beneath is None or beneath == mount:
                # The layer's own mount can't be seen from here.
                above |= self._any_storage()
            else:
                above |= self.of_mount(beneath)
        return above

    def _of_btrfs(self, mount: Mount) -> frozenset[str]:
        """A btrfs tells only one of its devices in mountinfo, and all of them in sysfs."""
        name = os.path.basename(os.path.realpath(self._path(mount.source.lstrip("/"))))
        above = self.of_source(mount.source)
        file_systems = self._path("sys/fs/btrfs")
        for uuid in sysfs.listing(file_systems):
            devices = sysfs.listing(os.path.join(file_systems, uuid, "devices"))
            if name in devices:
                for device in devices:
                    above |= self._of_block_name(device)
        return above

    def _of_9p(self, mount: Mount) -> frozenset[str]:
        devices = self._path("sys/bus/virtio/devices")
        return self._tagged(devices, "mount_tag", "", mount.source)

    def _of_virtiofs(self, mount: Mount) -> frozenset[str]:
        return self._tagged(self._path("sys/fs/virtiofs"), "tag", "device", mount.source)

    def _tagged(self, directory: str, attribute: str, link: str, tag: str) -> frozenset[str]:
        above: frozenset[str] = frozenset()
        for name in sysfs.listing(directory):
            entry = os.path.join(directory, name)
            if (sysfs.read_text(os.path.join(entry, attribute)) or "").strip("\0") == tag:
                above |= functions_above(os.path.join(entry, link), root=self._root)
        return above

    def _any_storage(self) -> frozenset[str]:
        """All that might hold what can't be followed to its disks: rather one too many."""
        self.certain = False
        above: frozenset[str] = frozenset()
        for function in functions(root=self._root):
            if function.class_code >> 16 == _MASS_STORAGE and self._has_disk_in_use(function):
                above |= functions_above(function.path, root=self._root)
        for driver in ("9pnet_virtio", "virtiofs"):
            bound = self._path("sys/bus/virtio/drivers", driver)
            for name in sysfs.listing(bound):
                if name.startswith("virtio"):
                    above |= functions_above(os.path.join(bound, name), root=self._root)
        return above

    def _has_disk_in_use(self, function: HostFunction) -> bool:
        blocks = self._path("sys/class/block")
        return any(
            function.bdf in functions_above(os.path.join(blocks, name), root=self._root)
            and not _can_be_claimed(self._path("dev", name))
            for name in sysfs.listing(blocks)
        )

    def _path(self, *parts: str) -> str:
        return os.path.join(self._root, *parts)


def _can_be_claimed(path: str) -> bool:
    """Whether nobody (a file system, swap, a volume manager) has a disk or partition to itself.

    Where that can't be found out, somebody may.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _nvme_paths(device: str) -> Iterator[str]:
    """The controllers that lead to a namespace, of which each has one where there is multipath."""
    head, separator, name = device.partition("/nvme-subsys")
    # The class's directory is called nvme-subsystem, the subsystem nvme-subsys and a number.
    while separator and not name.partition("/")[0].isdigit():
        more, separator, name = name.partition("/nvme-subsys")
        head = f"{head}/nvme-subsys{more}"
    if separator:
        subsystem = f"{head}/nvme-subsys{name.partition('/')[0]}"
        for entry in sysfs.listing(subsystem):
            path = os.path.join(subsystem, entry)
            if entry.startswith("nvme") and os.path.islink(path):
                yield path
