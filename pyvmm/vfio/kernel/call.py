# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The one way the ioctls of VFIO and iommufd are called, so that a failure tells its story."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...uapi import iommufd, vfio
from ...uapi.ioctl import ioctl
from ..errors import DeviceError

if TYPE_CHECKING:
    from ...uapi.ioctl import Argument


def call(
    fd: int,
    request: str,
    arg: Argument = 0,
    *,
    doing: str,
    cures: Mapping[int, str] | None = None,
) -> int:
    """Call an ioctl by the kernel's name for it, such as "VFIO_GROUP_GET_STATUS".

    doing says what for, and to what; cures what to do about an errno. Numbers of ioctls mean
    different things to containers and devices, names don't. Raises DeviceError.
    """
    number: int = getattr(iommufd if request.startswith("IOMMU_") else vfio, request)
    try:
        return ioctl(fd, number, arg)
    except OSError as error:
        errno = error.errno or 0
        cure = cures.get(errno, "") if cures else ""
        raise DeviceError.answered(f"{doing}: {request}", errno, cure) from None
