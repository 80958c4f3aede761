# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong between a host without the hardware and a lab that runs."""

from __future__ import annotations


class LabError(Exception):
    """Base of the lab's errors: what failed and why, and the cure where one is known.

    details are lines worth a look, such as the end of a log.
    """

    def __init__(self, cause: str, cure: str = "", *, details: str = "") -> None:
        super().__init__(f"{cause}; {cure}" if cure else cause)
        self.cause = cause
        self.cure = cure
        self.details = details


class NoSuchPackage(LabError):
    """No suite that could be reached has the package."""


class Unreachable(LabError):
    """The mirror didn't answer, or not with what was asked for."""


class LabEnded(LabError):
    """The lab's machine has ended, which it was not to do by itself."""


class LabSilent(LabError):
    """The lab's machine is there, but did not answer in time."""


class LabTimeout(LabError):
    """The time limit for a command in the lab was over, and it was ended."""


class LabStopped(LabError):
    """Whoever started a command in the lab wants no more of it, and it didn't end by itself."""


class QmpError(LabError):
    """QEMU refused what its monitor was asked for."""


class SnapshotFailed(LabError):
    """A snapshot can't be made or begun with. A lab that boots may do."""
