# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Group: an open IOMMU group, from its place in a container until its last device is closed.

See Documentation/driver-api/vfio.rst in the kernel's source.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno

from ...uapi import vfio
from ..errors import DeviceError, HostDeviceUnavailable, VfioError
from ..host import IommuGroup
from .kernel_file import KernelFile
from .opening import OUT_OF_REACH, open_file
from .permission import IOMMUFD, forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID

_OPENING = {
    errno.ENOENT: "none of its devices is bound to vfio-pci: `pyvmm bind` one of them",
    errno.ENODEV: "its devices have just been taken away from vfio-pci",
    errno.EPERM: "a group without an IOMMU takes CAP_SYS_RAWIO: run as root",
}


class Group:
    """Owns the file of a group that is in a container."""

    def __init__(self, host: IommuGroup, container: int) -> None:
        """Open the group and put it in a container, given by its file descriptor.

        Raises HostDeviceUnavailable if somebody else has the group, or it is not viable.
        """
        self.host = host
        self.name = f"group {host.number}"
        fd = open_file(host.device_path, self.name, _OPENING, root=host.root)
        self._file = KernelFile(fd, self.name)
        try:
            self._check_viable()
            self._join(container)
        except BaseException:
            self._file.close()
            raise

    def fileno(self) -> int:
        return self._file.fileno()

    def device(self, bdf: str, vf_token: UUID | None) -> int:
        """Open a device of the group; its file descriptor is the caller's.

        vf_token is for virtual functions of a physical function that VFIO has, too. Raises
        HostDeviceUnavailable, DeviceError.
        """
        # Only vfio-pci's devices take a name with arguments.
        name = bdf if vf_token is None else f"{bdf} vf_token={vf_token}"
        cures = {
            errno.ENODEV: f"it is not bound to vfio-pci: `pyvmm bind {bdf}`",
            errno.EINVAL: "it refuses this VF token" if vf_token else "it can't be opened so",
            errno.EACCES: (
                "its VF token is another one"
                if vf_token
                else "its physical function is VFIO's too: give the VF token that was set there"
            ),
            errno.EMFILE: "raise the limit on open files (ulimit -n)",
            errno.EADDRINUSE: OUT_OF_REACH,
        }
        buffer = ctypes.create_string_buffer(name.encode())
        request, doing = "VFIO_GROUP_GET_DEVICE_FD", f"opening {bdf}"
        try:
            return self._file.ioctl(request, buffer, doing=doing, cures=cures)
        except DeviceError as error:
            # In a container of iommufd's, only now does the kernel see whose the group is.
            if error.errno == errno.EPERM:
                raise forbidden(self.host, error.cause, IOMMUFD) from None
            if error.errno == errno.EBUSY:
                raise self._not_viable() from None
            raise HostDeviceUnavailable(error.cause, error.cure) from None

    def close(self) -> None:
        """Leave the container and close the group. Idempotent; its devices are closed before."""
        # It would leave with its last reference, but KVM has one as well.
        with contextlib.suppress(VfioError):
            self._file.ioctl("VFIO_GROUP_UNSET_CONTAINER", doing="leaving its container")
        self._file.close()

    def _check_viable(self) -> None:
        status = vfio.vfio_group_status(argsz=ctypes.sizeof(vfio.vfio_group_status))
        self._file.ioctl("VFIO_GROUP_GET_STATUS", status, doing="asking for its status")
        # One that has its container is viable, whatever kernels before 5.19 say.
        viable = vfio.VFIO_GROUP_FLAGS_VIABLE | vfio.VFIO_GROUP_FLAGS_CONTAINER_SET
        if not status.flags & viable:
            raise self._not_viable()

    def _join(self, container: int) -> None:
        request, doing = "VFIO_GROUP_SET_CONTAINER", "joining a container"
        cures = {
            errno.EBADFD: "that file is no container",
            errno.EINVAL: "its IOMMU can't map what the container has mapped already",
            errno.ENODEV: "its devices have just been taken away from vfio-pci",
        }
        number = ctypes.c_int32(container)
        try:
            self._file.ioctl(request, ctypes.addressof(number), doing=doing, cures=cures)
        except DeviceError as error:
            if error.errno in (errno.EPERM, errno.EBUSY):
                raise self._not_viable() from None
            raise

    def _not_viable(self) -> HostDeviceUnavailable:
        return self.host.why_not_viable() or HostDeviceUnavailable(
            f"{self.name} is not viable: another user has one of its devices",
            "devices of a group have one owner, and one container or iommufd",
        )
