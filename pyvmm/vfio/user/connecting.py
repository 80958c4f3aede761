# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Connecting to the server that listens at a path, and what stops it."""

from __future__ import annotations

import errno
import os
import socket
import stat

from ...uapi.ioctl import failure
from ..errors import DeviceGone, VfioError
from .transport import pack_timeval


def connect(path: str, name: str, timeout: float) -> socket.socket:
    """A connected socket; name is what messages call it.

    Raises DeviceGone where nobody serves, and VfioError if this process is out of descriptors.
    """
    if "\0" in path[1:]:  # which may come first: in the name of an abstract socket
        raise DeviceGone(f"connecting to {name!r}: no path has a null character")
    # Only a full queue of waiting clients makes this wait at all.
    patience = pack_timeval(timeout)
    doing = f"connecting to {name}"
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as e:
        cure = "raise the limit of open files (ulimit -n)"
        raise VfioError(failure(doing, "socket", e.errno or 0), cure) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        sock.connect(path)
    except OSError as e:
        sock.close()
        number = e.errno or errno.ENAMETOOLONG
        raise DeviceGone(failure(doing, "connect", number), _cure(path, number)) from None
    return sock


def _cure(path: str, number: int) -> str:
    if number == errno.ECONNREFUSED and not _is_socket(path):
        return "it is no socket; name the one that the server listens on"
    return {
        errno.ENOENT: "start the server first",
        errno.ECONNREFUSED: "the server that made this socket is gone; start it again",
        errno.EAGAIN: "it is busy with another client",
        errno.EACCES: "the socket's directory or permissions keep you out",
        errno.EPROTOTYPE: "it is not a stream socket, as vfio-user servers have",
    }.get(number, "")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
