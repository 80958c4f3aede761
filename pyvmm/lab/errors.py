# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong between a host without the hardware and a lab that runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LabError(Exception):
    """Base of the lab's errors: what failed and why, and the cure where one is known.

    details are lines worth a look, such as the end of a log.
    """

    def __init__(self, cause: str, cure: str = "", *, details: str = "") -> None:
        super().__init__(f"{cause}; {cure}" if cure else cause)
        self.cause = cause
        self.cure = cure
        self.details = details


class LabEnded(LabError):
    """The lab's machine has ended, which it was not to do by itself."""


class QemuRefused(LabEnded):
    """QEMU has said why it can't be such a machine. It would say the same again."""


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


@contextmanager
def of_the_lab() -> Iterator[None]:
    """What goes wrong with Debian's packages is an error of the lab to those who want one."""
    from pyvmm.debian.errors import DebianError

    try:
        yield
    except DebianError as error:
        raise LabError(error.cause, error.cure) from None
