# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""call(): one ioctl of VFIO or iommufd, by the kernel's name for it; its errno becomes ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...uapi import iommufd, vfio
from ...uapi.ioctl import ioctl
from ..errors import DeviceError

if TYPE_CHECKING:
    from ...uapi.ioctl import Argument


def call(fd: int, request: str, arg: Argument = 0, *, doing: str) -> int:
    """Make the call named request, such as "VFIO_GROUP_GET_STATUS"; its result.

    doing says what for, and to what. By name, since containers and devices use the same numbers
    for different calls. Raises DeviceError.
    """
    number: int = getattr(iommufd if request.startswith("IOMMU_") else vfio, request)
    try:
        return ioctl(fd, number, arg)
    except OSError as error:
        raise DeviceError.answered(f"{doing}: {request}", error.errno) from None
