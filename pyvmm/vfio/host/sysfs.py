# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Reading and writing the small files of sysfs and procfs, any of which may not be there.

Which attributes there are depends on the kernel, its configuration and the device, and a device
may go while it is looked at. So reading tells "not there" by None or by nothing, and never raises.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from ...uapi.ioctl import failure
from ..errors import HostDeviceUnavailable


def read_text(path: str) -> str | None:
    """A file's text without the white space around it; None if it can't be read."""
    data = read_bytes(path)
    return None if data is None else data.decode(errors="replace").strip()


def read_bytes(path: str, size: int = -1) -> bytes | None:
    """A file's first bytes, or all of it; None if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return None


def read_number(path: str) -> int | None:
    """A file's number, in C's notation; None if there is none."""
    try:
        return int(read_text(path) or "", 0)
    except ValueError:
        return None


def hex_numbers(words: Iterable[str]) -> tuple[int, ...]:
    """What each word is in base 16; none if one of them is no number."""
    try:
        return tuple(int(word, 16) for word in words)
    except ValueError:
        return ()


def link_name(path: str) -> str | None:
    """The last component of what a symbolic link points to; None if there is no link."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def listing(path: str) -> list[str]:
    """The names in a directory, sorted; none if it can't be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def write(path: str, text: str) -> None:
    """Write an attribute by one write(2). Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def store(path: str, text: str, doing: str) -> None:
    """Write an attribute, for `doing`. Raises HostDeviceUnavailable."""
    try:
        write(path, text)
    except OSError as error:
        number = error.errno or 0
        cures = {
            errno.EACCES: "do it as root (sudo)",
            errno.EPERM: "do it as root (sudo)",
            errno.EROFS: "sysfs is read-only here, as in most containers: do it outside",
        }
        raise HostDeviceUnavailable(
            failure(doing, f"write {path}", number), cures.get(number, "")
        ) from None
