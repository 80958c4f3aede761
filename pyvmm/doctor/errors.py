# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the doctor refuses."""

from __future__ import annotations


class DoctorError(Exception):
    """Base of the doctor's errors: what failed and why, and the cure."""

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(f"{cause}; {cure}" if cure else cause)
        self.cause = cause
        self.cure = cure


class NeededByHost(DoctorError):
    """A device is not to be taken from this host, which would lose something with it."""
