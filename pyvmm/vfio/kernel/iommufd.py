# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Iommufd: an open /dev/iommu, in which IOASes, devices and their page tables are objects by ID.

See Documentation/userspace-api/iommufd.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping

from ...uapi import iommufd as uapi
from ..errors import DeviceError
from .kernel_file import KernelFile
from .opening import open_file

NO_IOMMUFD = {
    errno.ENOENT: "the kernel has no iommufd: it takes CONFIG_IOMMUFD, or `sudo modprobe iommufd`",
    errno.ENODEV: "the kernel has no iommufd: `sudo modprobe iommufd`",
}

_NONE: Mapping[int, str] = {}


class Iommufd:
    """Owns the file; a context manager. What was made in it goes with it."""

    def __init__(self, *, root: str = "/") -> None:
        """Raises HostDeviceUnavailable."""
        self.path = os.path.join(root, "dev/iommu")
        self._file = KernelFile(open_file(self.path, "iommufd", NO_IOMMUFD, root=root), "iommufd")

    def fileno(self) -> int:
        return self._file.fileno()

    def call(
        self, request: str, arg: ctypes.Structure, doing: str, cures: Mapping[int, str] = _NONE
    ) -> None:
        """Make one of its calls, whose structures begin with their size. Raises VfioError."""
        arg.size = ctypes.sizeof(arg)
        self._file.ioctl(request, arg, doing=doing, cures=cures)

    def alloc_ioas(self) -> int:
        """A new IOAS; its ID. Raises DeviceError."""
        request = uapi.iommu_ioas_alloc()
        self.call("IOMMU_IOAS_ALLOC", request, "making an IOAS")
        return int(request.out_ioas_id)

    def destroy(self, id: int) -> None:
        """Destroy an object that no other uses. Raises DeviceError."""
        self.call("IOMMU_DESTROY", uapi.iommu_destroy(id=id), f"destroying iommufd object {id}")

    def hw_capabilities(self, device: int) -> int:
        """IOMMU_HW_CAP_* of the IOMMU of a bound device; 0 from a kernel that can't tell."""
        request = uapi.iommu_hw_info(dev_id=device)
        try:
            self.call("IOMMU_GET_HW_INFO", request, f"asking for the IOMMU of device {device}")
        except DeviceError as error:
            if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
                return 0
            raise
        return int(request.out_capabilities)

    @property
    def counts_by_process(self) -> bool:
        """Whether locked memory counts for this process, as it does for VFIO, or its user.

        It may be set while nothing is made in the file yet, with CAP_SYS_RESOURCE.
        """
        return bool(self._option(uapi.IOMMU_OPTION_RLIMIT_MODE, 0, None))

    @counts_by_process.setter
    def counts_by_process(self, value: bool) -> None:
        self._option(uapi.IOMMU_OPTION_RLIMIT_MODE, 0, int(value))

    def huge_pages(self, ioas: int) -> bool:
        """Whether an IOAS may use huge pages in the IOMMU's page tables."""
        return bool(self._option(uapi.IOMMU_OPTION_HUGE_PAGES, ioas, None))

    def set_huge_pages(self, ioas: int, value: bool) -> None:
        """Only before anything is mapped and attached. Raises DeviceError."""
        self._option(uapi.IOMMU_OPTION_HUGE_PAGES, ioas, int(value))

    @property
    def compat_ioas(self) -> int | None:
        """The IOAS that groups in this file as their container use; None if there is none yet."""
        request = uapi.iommu_vfio_ioas(op=uapi.IOMMU_VFIO_IOAS_GET)
        none = {errno.ENODEV: "there is none yet"}
        try:
            self.call("IOMMU_VFIO_IOAS", request, "asking for the IOAS of groups", none)
        except DeviceError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int(request.ioas_id)

    @compat_ioas.setter
    def compat_ioas(self, ioas: int | None) -> None:
        op = uapi.IOMMU_VFIO_IOAS_CLEAR if ioas is None else uapi.IOMMU_VFIO_IOAS_SET
        request = uapi.iommu_vfio_ioas(ioas_id=ioas or 0, op=op)
        self.call("IOMMU_VFIO_IOAS", request, "choosing the IOAS of groups")

    def _option(self, option: int, object: int, value: int | None) -> int:
        """Set an option, or ask for it."""
        op = uapi.IOMMU_OPTION_OP_GET if value is None else uapi.IOMMU_OPTION_OP_SET
        request = uapi.iommu_option(option_id=option, op=op, object_id=object, val64=value or 0)
        doing = "asking for" if value is None else "setting"
        self.call("IOMMU_OPTION", request, f"{doing} option {option} of iommufd")
        return int(request.val64)

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def __enter__(self) -> Iommufd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
