# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong with a VFIO device."""

from __future__ import annotations

import errno as errnos

from ..uapi.ioctl import errno_text


class VfioError(Exception):
    """Base of the VFIO layer's errors: what failed and why, and the cure where one is known.

    Whoever comes to know the cure of an error under way sets it.
    """

    def __init__(self, cause: str = "", cure: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.cause}; {self.cure}" if self.cure else self.cause


class DeviceError(VfioError):
    """The device, or what serves it, refused a request. The device is still there."""

    def __init__(self, cause: str, errno: int, cure: str = "") -> None:
        """cause says what was asked of what; errno is what it was answered with."""
        super().__init__(cause, cure)
        self.errno = errno

    @classmethod
    def answered(cls, asked: str, errno: int | None, cure: str = "") -> DeviceError:
        """The error for a request that was answered with an errno; 0 is "no reason given"."""
        if not errno:
            return cls(f"{asked}: an error without a reason", 0, cure)
        return cls(f"{asked}: {errno_text(errno)}", errno, cure)


class TooFewVectors(DeviceError):
    """The host hasn't as many interrupt vectors as a device was to have. None were enabled."""

    def __init__(self, asked: str, available: int) -> None:
        """available is how many it could have had, from vector 0 on."""
        told = DeviceError.answered(asked, errnos.ENOSPC)
        cure = f"the host has {available} vectors left for it: ask for no more"
        super().__init__(told.cause, errnos.ENOSPC, cure)
        self.available = available


class BadAccess(VfioError, ValueError):
    """An access that makes no sense: outside, not aligned, or of a value that doesn't fit."""


class InterruptTimeout(VfioError, TimeoutError):
    """The interrupt that was waited for did not come in time."""


class DmaFault(DeviceError):
    """A device's DMA touched IOVAs that are not mapped, or wrote to read-only ones."""

    def __init__(self, iova: int, size: int, why: str = "not mapped") -> None:
        super().__init__(f"DMA to IOVA {iova:#x}+{size:#x}: {why}", errnos.EFAULT)
        self.iova = iova
        self.size = size


class DeviceGone(VfioError):
    """The device is no longer there, for whatever reason, and won't come back."""


class DeviceSilent(DeviceGone):
    """What serves the device did not answer in time, and is given up."""


class CannotListen(VfioError):
    """A socket to serve a device on can't be made, or isn't one."""


class ProtocolError(DeviceGone):
    """What serves the device said something that can't be true. It is not listened to again."""


class HostDeviceUnavailable(VfioError):
    """A device of this host can't be had: it is not there, not VFIO's, not viable, or in use."""
