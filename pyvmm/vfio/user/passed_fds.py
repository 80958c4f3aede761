# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Closing file descriptors that a peer has passed to us."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

_OFF = struct.pack("@ii", 0, 0)
_setsockopt = ctypes.CDLL(None).setsockopt


def close_passed(fds: Iterable[int]) -> None:
    """Close them, whatever they are, without waiting for what a peer has prepared.

    With SO_LINGER on, closing a TCP socket waits until the other side has read everything.
    """
    for fd in fds:
        # Not by way of a socket object: it would have to be one. What isn't is refused.
        _setsockopt(fd, socket.SOL_SOCKET, socket.SO_LINGER, _OFF, len(_OFF))
        with suppress(OSError):  # some report here what failed earlier: it is closed all the same
            os.close(fd)
