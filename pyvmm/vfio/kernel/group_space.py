# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""GroupSpace: a container file and the groups in it, each of which goes with its last device."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Callable, Mapping
from uuid import UUID

from ...uapi import vfio
from ..errors import DeviceError, HostDeviceUnavailable
from ..host import HostFunction, IommuGroup
from .group import Group
from .kernel_file import KernelFile
from .opening import open_file
from .space import KernelSpace

NO_VFIO = {
    errno.ENOENT: "the kernel has no VFIO here: `sudo modprobe vfio-pci`",
    errno.ENODEV: "the kernel has no VFIO here: `sudo modprobe vfio-pci`",
}


REMAP_INTERRUPTS = (
    "enable that in the firmware's set-up, or accept it: "
    "`echo 1 | sudo tee /sys/module/{}/parameters/allow_unsafe_interrupts`"
)
UNSAFE_INTERRUPTS = (
    "interrupts of this host are not remapped, so that a device could forge them: "
    + REMAP_INTERRUPTS
)


class _Member:
    """A group in the container, and how many devices of it are open."""

    __slots__ = ("devices", "group")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.devices = 0


class GroupSpace(KernelSpace):
    """A DMA space that devices reach by their group."""

    def __init__(
        self, path: str, extension: int, root: str, cures: Mapping[int, str] = NO_VFIO
    ) -> None:
        """Open a container file, which must have an IOMMU driver of this kind (VFIO_*_IOMMU).

        cures say what to do about an errno of opening it. Raises HostDeviceUnavailable.
        """
        super().__init__(root)
        self.name = f"container {path}"
        self._extension = extension
        self._members: dict[int, _Member] = {}
        self._file = KernelFile(open_file(path, self.name, cures, root=root), self.name)
        try:
            version = self._file.ioctl("VFIO_GET_API_VERSION", doing="asking for its version")
            if version != vfio.VFIO_API_VERSION:
                raise HostDeviceUnavailable(f"{self.name}: VFIO's API version {version} is unknown")
            if not self.supports(extension):
                raise HostDeviceUnavailable(f"{self.name} has no {self._what_is_missing()}")
        except BaseException:
            self._file.close()
            raise

    def fileno(self) -> int:
        return self._file.fileno()

    def supports(self, extension: int) -> bool:
        """Whether VFIO_CHECK_EXTENSION says yes to one of the numbers that come with it."""
        doing = f"asking for extension {extension}"
        return self._file.ioctl("VFIO_CHECK_EXTENSION", extension, doing=doing) > 0

    @property
    def group_fds(self) -> dict[int, int]:
        """The fd of each group that is open here, by its number; they stay the space's."""
        with self._lock:
            return {number: member.group.fileno() for number, member in self._members.items()}

    @abstractmethod
    def _what_is_missing(self) -> str:
        """What the container lacks without the extension, and the cure."""

    @abstractmethod
    def _first_group(self) -> None:
        """The container has its first group; make it ready to be used."""

    @abstractmethod
    def _last_group_left(self) -> None:
        """The container has lost its last group."""

    def _join(
        self, function: HostFunction, vf_token: UUID | None
    ) -> tuple[int, int, Callable[[], None]]:
        host = IommuGroup.of(function)
        member = self._members.get(host.number) or self._add_group(host)
        member.devices += 1
        try:
            fd = member.group.device(function.bdf, vf_token)
        except BaseException:
            self._leave(member)
            raise
        return fd, member.group.fileno(), lambda: self._leave(member)

    def _add_group(self, host: IommuGroup) -> _Member:
        self._check_room(host)
        group = Group(host, self.fileno())
        try:
            if not self._members:
                self._first_group()
        except BaseException:
            group.close()
            raise
        member = self._members[host.number] = _Member(group)
        return member

    def _leave(self, member: _Member) -> None:
        member.devices -= 1
        if not member.devices:
            del self._members[member.group.host.number]
            member.group.close()
            if not self._members:
                self._last_group_left()

    def _set_iommu(self) -> None:
        cures = {
            errno.EPERM: UNSAFE_INTERRUPTS.format("vfio_iommu_type1"),
            errno.ENODEV: f"the container has no {self._what_is_missing()}",
        }
        doing = "giving it its IOMMU"
        try:
            self._file.ioctl("VFIO_SET_IOMMU", self._extension, doing=doing, cures=cures)
        except DeviceError as error:
            raise HostDeviceUnavailable(error.cause, error.cure) from None

    def _groups_here(self) -> tuple[IommuGroup, ...]:
        return tuple(member.group.host for member in self._members.values())

    def _close(self) -> None:
        self._close_files()

    def _close_files(self) -> None:
        self._file.close()
