# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Copying from and to this process's memory where touching it could be SIGBUS.

A mapped page can be had no more once its file is shorter, and in hugetlbfs also once somebody who
has the file has punched it out and taken the last free huge page. The kernel, asked to copy as if
between two processes (process_vm_readv(2)), then fails in order.
"""

from __future__ import annotations

import ctypes
import errno
import os


class _Iovec(ctypes.Structure):
    _fields_ = (("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_ARGUMENTS = (
    ctypes.c_int,
    ctypes.POINTER(_Iovec),
    ctypes.c_ulong,
    ctypes.POINTER(_Iovec),
    ctypes.c_ulong,
    ctypes.c_ulong,
)
_readv = _libc.process_vm_readv
_writev = _libc.process_vm_writev
for _call in (_readv, _writev):
    _call.argtypes = _ARGUMENTS
    _call.restype = ctypes.c_ssize_t


def read(address: int, size: int) -> bytes:
    """The bytes at an address. Raises OSError (EFAULT) if some are not there."""
    data = ctypes.create_string_buffer(size)
    _copy(_readv, ctypes.addressof(data), address, size)
    return data.raw


def write(address: int, data: bytes | memoryview) -> None:
    """Put bytes at an address. Raises OSError (EFAULT) if some of them can't be there."""
    copy = ctypes.create_string_buffer(bytes(data), len(data))
    _copy(_writev, ctypes.addressof(copy), address, len(data))


def _copy(call: ctypes._NamedFuncPointer, here: int, there: int, size: int) -> None:
    local, remote = _Iovec(here, size), _Iovec(there, size)
    copied = call(os.getpid(), local, 1, remote, 1, 0)
    if copied != size:
        number = ctypes.get_errno() if copied < 0 else errno.EFAULT
        raise OSError(number, os.strerror(number))
