# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Opening the files of VFIO and iommufd: why one can't be opened, and waiting for one that is held.

A process that was killed lets its VFIO files go last, after unpinning its memory. So what is held
now is tried again for a while, before whoever asks is told who holds it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from ...uapi.ioctl import failure
from ..errors import HostDeviceUnavailable
from ..host import who_is_busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID

OUT_OF_REACH = (
    "IOVAs are mapped, or to stay mappable (allow_iovas), that its IOMMU doesn't reach, or has "
    "reserved"
)
"""Why iommufd lets a device not join: EADDRINUSE."""

_PATIENCE = 1.0  # seconds
_PAUSE = 0.02
_T = TypeVar("_T")


class StillHeld(HostDeviceUnavailable):
    """Somebody else has the file open, maybe not for long."""


def patiently(attempt: Callable[[], _T]) -> _T:
    """Try it until nobody else holds what it takes, for a second at most.

    attempt raises StillHeld, and holds no lock when it has. Raises HostDeviceUnavailable.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return attempt()
        except StillHeld:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


def parse_token(text: UUID | str | None) -> UUID | None:
    """A VF token, as people write it. Raises HostDeviceUnavailable."""
    if not isinstance(text, str):
        return text
    from uuid import UUID  # few have a use for it, and it takes long to import

    try:
        return UUID(text)
    except ValueError:
        raise HostDeviceUnavailable(
            f"the VF token {text!r} is no UUID",
            "write it like 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
        ) from None


def open_file(path: str, what: str, cures: Mapping[int, str], *, root: str = "/") -> int:
    """Open a file of VFIO's for reading and writing; what is what it stands for, for messages.

    cures say what to do about an errno. Raises HostDeviceUnavailable, and StillHeld at once.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
    cause = failure(f"opening {what}", f"open({path})", number)
    if number == errno.EBUSY:
        raise StillHeld(cause, who_is_busy(path, root=root))
    cure = cures.get(number, "")
    if number == errno.EACCES:
        cure = "run as root, or let this user open it: `sudo pyvmm bind --user $USER` the device"
    elif number in (errno.EMFILE, errno.ENFILE):
        cure = "raise the limit on open files (ulimit -n)"
    raise HostDeviceUnavailable(cause, cure)
