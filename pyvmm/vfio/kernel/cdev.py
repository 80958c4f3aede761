# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Cdev: a device opened by its own file, /dev/vfio/devices/vfioN, and bound to an iommufd.

See "VFIO Device cdev" in Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat

from ...uapi import vfio
from ...uapi.ioctl import failure
from ..errors import DeviceError, HostDeviceUnavailable
from ..host import HostFunction, IommuGroup, other_holders, who_is_busy
from .kernel_file import KernelFile
from .opening import OUT_OF_REACH, StillHeld, open_file
from .permission import IOMMUFD, forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID

_UNBOUND = {errno.ENODEV: "it has just been taken away from vfio-pci"}


def function_of(fd: int, *, root: str = "/") -> HostFunction:
    """The PCI function whose cdev a file descriptor is. Raises HostDeviceUnavailable."""
    try:
        status = os.fstat(fd)
    except (OSError, OverflowError):
        raise HostDeviceUnavailable(f"fd {fd} is not open") from None
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    link = os.path.join(root, "sys/dev/char", number)
    if not stat.S_ISCHR(status.st_mode) or "/vfio-dev/" not in os.path.realpath(link):
        raise HostDeviceUnavailable(
            f"fd {fd} is no VFIO device", "open one of /dev/vfio/devices for reading and writing"
        )
    # .../0000:01:00.0/vfio-dev/vfio0
    parent = os.path.dirname(os.path.dirname(os.path.realpath(link)))
    return HostFunction(os.path.basename(parent), root=root)


class Cdev:
    """Owns the file of a device's cdev, up to where it is handed on as fd."""

    def __init__(self, function: HostFunction, fd: int | None = None) -> None:
        """Open it, or duplicate the caller's fd of it. Raises HostDeviceUnavailable, StillHeld."""
        self.function = function
        self.path = function.vfio_cdev
        if fd is not None:
            try:
                fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
            except OSError as error:
                raise HostDeviceUnavailable(
                    failure(f"duplicating fd {fd}", "fcntl", error.errno or 0),
                    "raise the limit on open files (ulimit -n)",
                ) from None
        elif self.path is None:
            raise HostDeviceUnavailable(f"{function} has no device cdev", _no_cdev(function))
        else:
            fd = open_file(self.path, f"{function} by {self.path}", _UNBOUND, root=function.root)
        self._file = KernelFile(fd, function.bdf)

    def bind(self, iommufd: int, vf_token: UUID | None = None) -> int:
        """Bind it to an iommufd, for as long as the file is open; its device ID there.

        Raises StillHeld if somebody else has it, and HostDeviceUnavailable if its group is not
        viable.
        """
        request = vfio.vfio_device_bind_iommufd(
            argsz=ctypes.sizeof(vfio.vfio_device_bind_iommufd), iommufd=iommufd
        )
        if vf_token is not None:
            token = ctypes.create_string_buffer(vf_token.bytes, 16)
            request.flags = vfio.VFIO_DEVICE_BIND_FLAG_TOKEN
            request.token_uuid_ptr = ctypes.addressof(token)
        try:
            self._bind(request, tokens_are_known=vf_token is None)
        except DeviceError as error:
            raise self._not_bound(error, vf_token is not None) from None
        return int(request.out_devid)

    def attach(self, page_table: int) -> int:
        """Have its DMA go through an IOAS or HWPT, given by its ID; the ID of the HWPT.

        Raises DeviceError.
        """
        request = vfio.vfio_device_attach_iommufd_pt(
            argsz=ctypes.sizeof(vfio.vfio_device_attach_iommufd_pt), pt_id=page_table
        )
        cures = {
            errno.EINVAL: "it can't share these page tables with the devices that have them",
            errno.EADDRINUSE: OUT_OF_REACH,
            errno.EBUSY: "another device of its group is attached to something else",
        }
        doing = f"attaching it to {page_table}"
        self._file.ioctl("VFIO_DEVICE_ATTACH_IOMMUFD_PT", request, doing=doing, cures=cures)
        return int(request.pt_id)

    def detach(self) -> None:
        """Take it out of its page tables; its DMA is blocked then. Raises DeviceError."""
        request = vfio.vfio_device_detach_iommufd_pt(
            argsz=ctypes.sizeof(vfio.vfio_device_detach_iommufd_pt)
        )
        self._file.ioctl("VFIO_DEVICE_DETACH_IOMMUFD_PT", request, doing="detaching it")

    def take(self) -> int:
        """Hand its file descriptor on; this is closed then."""
        return self._file.take()

    def close(self) -> None:
        """Idempotent; the device is unbound with the last file descriptor."""
        self._file.close()

    def _bind(self, request: vfio.vfio_device_bind_iommufd, *, tokens_are_known: bool) -> None:
        doing = "binding it to an iommufd"
        try:
            self._file.ioctl("VFIO_DEVICE_BIND_IOMMUFD", request, doing=doing, cures=_UNBOUND)
        except DeviceError as error:
            if tokens_are_known or error.errno != errno.EINVAL or not self._has_token():
                raise
            # Before Linux 6.17 cdevs take no token, and need none, whatever the physical function
            # was given. Later kernels don't say EINVAL where there is one to compare with.
            request.flags = request.token_uuid_ptr = 0
            self._bind(request, tokens_are_known=True)

    def _has_token(self) -> bool:
        """Whether it is a virtual function that has a token, and nobody else has it bound."""
        root, owner = self.function.root, self.function.physical_function
        if owner is None or not HostFunction(owner, root=root).has_vfio_driver:
            return False
        return not other_holders(self.path or "", root=root)

    def _not_bound(self, error: DeviceError, token: bool) -> HostDeviceUnavailable:
        group, root = IommuGroup.of(self.function), self.function.root
        if error.errno == errno.EBUSY:
            return StillHeld(error.cause, who_is_busy(group.device_path, root=root))
        if error.errno == errno.EINVAL:
            path = self.path or ""
            bound = f"it is bound already: {who_is_busy(path, root=root)}"
            # A token is refused so too, at once and for good.
            if not token or other_holders(path, root=root):
                return StillHeld(error.cause, bound)
            refused = "a VF token is for virtual functions whose physical function is VFIO's, too"
            return HostDeviceUnavailable(error.cause, f"{refused}; or {bound}")
        if error.errno == errno.EPERM:
            return forbidden(group, error.cause, IOMMUFD, opened=self.path)
        if error.errno == errno.EACCES:
            cure = (
                "its VF token is another one"
                if token
                else "its physical function is VFIO's too: give the VF token that was set there"
            )
            return HostDeviceUnavailable(error.cause, cure)
        return HostDeviceUnavailable(error.cause, error.cure)


def _no_cdev(function: HostFunction) -> str:
    if not function.has_vfio_driver:
        driver = function.driver
        having = f"it is bound to {driver}" if driver else "no driver is bound to it"
        return f"{having}; `pyvmm bind {function}`"
    return "the kernel is built without CONFIG_VFIO_DEVICE_CDEV; use a type1 container"
