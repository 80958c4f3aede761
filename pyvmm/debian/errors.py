# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong between a name of Debian's and files to boot from."""

from __future__ import annotations


class DebianError(Exception):
    """Base of the room's errors: what failed and why, and the cure where one is known."""

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(f"{cause}; {cure}" if cure else cause)
        self.cause = cause
        self.cure = cure


class NoSuchKernel(DebianError, ValueError):
    """A name that is none of KERNELS. Also a ValueError, as other notations raise."""


class NoSuchPackage(DebianError):
    """No suite that could be reached has the package."""


class Unreachable(DebianError):
    """The mirror didn't answer, or not with what was asked for."""
