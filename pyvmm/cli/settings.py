# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kinds of values that options take."""

from __future__ import annotations

import argparse

_MOST_DESCRIPTORS = 0x7FFFFFFF  # an int of C


def pair(text: str) -> tuple[str, str]:
    """Split KEY=VALUE, for argparse's type=."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def path(text: str) -> str:
    """A path, for argparse's type=."""
    if not text:
        raise argparse.ArgumentTypeError("a path can't be empty")
    return text


def descriptor(text: str) -> int:
    """The number of a file descriptor, for argparse's type=."""
    if not text.isascii() or not text.isdigit() or int(text) > _MOST_DESCRIPTORS:
        raise argparse.ArgumentTypeError(f"{text!r} is no file descriptor's number")
    return int(text)


def address(text: str) -> str:
    """A PCI address, for argparse's type=; whether there is a device is for later."""
    from pyvmm.vfio import HostDeviceUnavailable
    from pyvmm.vfio.host import full_address

    try:
        return full_address(text)
    except HostDeviceUnavailable as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def user(text: str) -> str:
    """A user's name, or an ID of 32 bits, of which the last stands for none (chown(2))."""
    if text.isascii() and text.isdigit() and int(text) >= 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"{text}: no user has an ID of more than 4294967294")
    return text
