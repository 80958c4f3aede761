# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong with a Linux guest's images, apart from Debian's packages."""

from __future__ import annotations


class LinuxError(Exception):
    """Base of the room's errors."""


class UnreadableScript(LinuxError):
    """The script that a guest is to run can't be read, or is none."""


class UnusableBusybox(LinuxError):
    """The busybox of a guest doesn't say what it has."""
