# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The answer to a command: what its handler returns or raises, as a reply."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import DeviceError, VfioError
from .protocol import F_ERROR, F_TYPE_REPLY, HEADER, HEADER_SIZE, command_name
from .survive import log_failure
from .transport import Message


class Reply(NamedTuple):
    """What a handler answers a command with, if fds belong to it.

    They stay the handler's, unless they are given away: then they are closed once they are sent.
    """

    payload: bytes
    fds: Sequence[int]
    given_away: bool = False


Handler = Callable[[Message], bytes | Reply]
"""Carries out a command: returns the reply's payload, or a Reply, or raises DeviceError."""


def answer(message: Message, handler: Handler, peer: str) -> bytes | Reply | int:
    """What the handler makes of a command; or an errno, whatever it raises."""
    if message.oversized:
        return errno.EINVAL
    if message.fds_lost:
        return errno.EMFILE
    try:
        return handler(message)
    except DeviceError as e:
        return e.errno or errno.EIO
    except VfioError:
        return errno.EIO
    except Exception:
        log_failure(f"{peer}: {command_name(message.command)} failed")
        return errno.EIO


def pack_reply(message: Message, reply: bytes | Reply | int) -> tuple[bytes, Sequence[int]]:
    """The reply to a command in bytes, and its fds. An errno is a header, and nothing else."""
    if isinstance(reply, int):
        flags = F_TYPE_REPLY | F_ERROR
        return HEADER.pack(message.id, message.command, HEADER_SIZE, flags, reply), ()
    payload, fds = (reply, ()) if isinstance(reply, bytes) else reply[:2]
    size = HEADER_SIZE + len(payload)
    return HEADER.pack(message.id, message.command, size, F_TYPE_REPLY, 0) + payload, fds
