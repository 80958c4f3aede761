# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Opening VFIO's files: who let them go lately may still be doing so, and who hasn't is told."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping

from ...uapi.ioctl import failure
from ..errors import HostDeviceUnavailable
from ..host import who_is_busy

PATIENCE = 1.0
"""Seconds: a process that was killed lets its VFIO files go last, after unpinning its memory."""

PAUSE = 0.02


def open_file(path: str, what: str, cures: Mapping[int, str], *, root: str = "/") -> int:
    """Open a file of VFIO's for reading and writing; what is what it stands for, for messages.

    cures say what to do about an errno. Raises HostDeviceUnavailable.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            number = error.errno or 0
        if number != errno.EBUSY or time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    cure = cures.get(number, "")
    if number == errno.EBUSY:
        cure = who_is_busy(path, root=root)
    elif number == errno.EACCES:
        cure = "run as root, or let this user open it: `sudo pyvmm bind --user $USER` the device"
    elif number in (errno.EMFILE, errno.ENFILE):
        cure = "raise the limit on open files (ulimit -n)"
    raise HostDeviceUnavailable(failure(f"opening {what}", f"open({path})", number, cure))
