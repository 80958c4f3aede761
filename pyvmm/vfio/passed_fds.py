# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Closing file descriptors that a peer has passed to us, or has sent something to.

The last close(2) of a file can take as long as somebody else likes: that of a TCP socket with
SO_LINGER on, or of a file on a file system in user space. Nor is it enough to look at what is
closed: with a UNIX socket goes all that waits in it to be received, files in flight included, and
the sockets of a listening one that nobody has accepted.

So close(2) is called on threads that nobody waits for, or not for long. There is one for each
call, since what takes for ever must not hold up what comes after it; and an end to them: while too
much is under way, a peer may pass nothing more that could add to it (crowded()). As daemons they
don't keep the process from ending, and a process that ends doesn't linger.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

_PROMPT = 0.05  # seconds; whoever lets something go usually finds it gone
_MOST = 64
_waiting: deque[int] = deque()
_lock = threading.Lock()
_unfinished = 0  # what waits, and what is being closed right now


def close_passed(fds: Iterable[int]) -> None:
    """Close them, whatever they are: at once, or as soon as that is possible."""
    uncertain = []
    for fd in fds:
        if closes_at_once(fd):
            os.close(fd)
        else:
            uncertain.append(fd)
    if not uncertain:
        return
    _count(len(uncertain))
    _waiting.extend(uncertain)
    thread = threading.Thread(target=_close_waiting, name="closing passed fds", daemon=True)
    with suppress(RuntimeError):  # no thread left: they wait for the next
        thread.start()
        thread.join(_PROMPT)


def close_socket(sock: socket.socket) -> None:
    """Close a socket that a peer could send to, likewise. Idempotent."""
    fd = sock.detach()
    if fd >= 0:
        close_passed((fd,))


def crowded() -> bool:
    """Whether there is too much already that can't be closed."""
    return _unfinished >= _MOST


def closes_at_once(fd: int) -> bool:
    """Whether it is one of the kernel's own that peers have reason to pass: memory, eventfds."""
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventfd]"
        return False
    return True


def _close_waiting() -> None:
    while True:
        try:
            fd = _waiting.popleft()
        except IndexError:
            return
        with suppress(OSError):  # some report here what failed earlier: it is closed all the same
            os.close(fd)
        _count(-1)


def _count(more: int) -> None:
    global _unfinished
    with _lock:
        _unfinished += more
