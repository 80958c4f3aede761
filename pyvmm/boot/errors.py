# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong between a guest image and the first instruction of the guest."""

from __future__ import annotations


class BootError(Exception):
    """Base of the boot room's errors. Nothing was started; guest RAM may be written in part."""


class UnreadableImage(BootError):
    """The image can't be opened or read, or is no regular file."""


class NotAGuestImage(BootError):
    """The file is readable but nothing that can be booted; cure says what to do."""

    def __init__(self, path: str, found: str, cure: str) -> None:
        super().__init__(f"{path} is {found}; {cure}")
        self.path = path
        self.found = found
        self.cure = cure


class MalformedImage(BootError):
    """The file is of an accepted kind, but its contents contradict each other."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} is malformed or cut off: {what}; build or copy it again")
        self.path = path


class DoesNotFit(BootError):
    """Something has to lie in guest RAM where there is none, or too little of it."""


class AddressTaken(BootError):
    """Something has to lie where something else lies already."""


class BadCommandLine(BootError):
    """The command line is too long for a kernel, or can't be one."""
