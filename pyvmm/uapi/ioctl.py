# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The ioctl() system call, and how a failed system call is told."""

from __future__ import annotations

import ctypes
from errno import errorcode
from os import strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = int | ctypes.Structure | ctypes.Union | ctypes.Array[Any] | None

# fcntl.ioctl() takes no 64-bit argument and copies buffers through its own; this one hands
# the kernel the very address.
_ioctl = ctypes.CDLL(None, use_errno=True).ioctl
_ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_ioctl.restype = ctypes.c_int


def ioctl(fd: int, request: int, arg: Argument = 0) -> int:
    """Call ioctl(2) and return its result, which is never negative.

    `arg` is the number to pass (up to 64 bits; an address counts as one), or a ctypes
    structure or array that the kernel reads and writes in place.

    Raises OSError with errno; callers turn it into an error of their own with failure().
    """
    if not (arg is None or isinstance(arg, int)):
        arg = ctypes.addressof(arg)
    result: int = _ioctl(fd, request, arg)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, strerror(number))
    return result


def failure(doing: str, call: str, errno: int, cure: str = "") -> str:
    """One line on a failed system call.

    >>> failure("creating a VM", "KVM_CREATE_VM", 12, "free some memory")
    'creating a VM: KVM_CREATE_VM: ENOMEM (Cannot allocate memory); free some memory'
    """
    text = f"{doing}: {call}: {errno_text(errno)}"
    return f"{text}; {cure}" if cure else text


def errno_text(errno: int) -> str:
    """An errno by name and in words; any number, as a peer may send it.

    >>> errno_text(12)
    'ENOMEM (Cannot allocate memory)'
    """
    # strerror() takes an int of C only.
    known = errno in errorcode
    return f"{errorcode[errno]} ({strerror(errno)})" if known else f"errno {errno}"
