# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Adding to an eventfd's counter without ever waiting, whoever else has the eventfd.

write(2) waits while the counter is full, unless O_NONBLOCK is set. Both are in the hands of
whoever shares the eventfd, at any time between a look at them and the write, and RWF_NOWAIT is
not for writes of eventfds. But the kernel itself never waits when it signals one, and asynchronous
I/O asks it to, at each completion (IOCB_FLAG_RESFD). The I/O here is a read of no bytes from the
eventfd: it changes nothing and is refused at once, which completes it.

See io_submit(2), and <linux/aio_abi.h> for the structures.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

# System calls have other numbers elsewhere, and not only on other processors.
_KNOWN = os.uname().machine == "x86_64" and sys.maxsize > 1 << 32
_NR_IO_SETUP = 206
_NR_IO_DESTROY = 207
_NR_IO_GETEVENTS = 208
_NR_IO_SUBMIT = 209
# data, key, rw_flags, opcode, reqprio, fildes, buf, nbytes, offset, reserved, flags, resfd
_IOCB = struct.Struct("=QIiHhIQQqQII")
_IOCB_CMD_PREAD = 0
_IOCB_FLAG_RESFD = 1 << 0
_IO_EVENT_SIZE = 32
_AT_ONCE = 128  # completions to forget with one call

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def signal(fd: int) -> bool:
    """Add one; False if this kernel doesn't do asynchronous I/O, or not for eventfds.

    Nor is it done on other processors than x86-64.
    """
    context = _context() if _KNOWN else None
    if context is None:
        return False
    request = _IOCB.pack(0, 0, 0, _IOCB_CMD_PREAD, 0, fd, 0, 0, 0, 0, _IOCB_FLAG_RESFD, fd)
    requests = ctypes.pointer(ctypes.c_char_p(request))
    while _syscall(_NR_IO_SUBMIT, context, 1, requests) != 1:
        if ctypes.get_errno() != errno.EAGAIN:
            return False
        # There is room again once the completions so far are taken, which tell us nothing.
        events = ctypes.create_string_buffer(_AT_ONCE * _IO_EVENT_SIZE)
        _syscall(_NR_IO_GETEVENTS, context, 0, _AT_ONCE, events, None)
    return True


def prepare() -> None:
    """Get ready to signal, while there is nobody yet who could keep us from it."""
    if _KNOWN:
        _context()


_made: list[ctypes.c_ulong | None] = []


def _context() -> ctypes.c_ulong | None:
    """The process's context for asynchronous I/O; None if it can't have one.

    Takes no lock, since signal handlers signal eventfds: the first to be entered is the one.
    """
    if not _made:
        context = ctypes.c_ulong(0)
        made = _syscall(_NR_IO_SETUP, _AT_ONCE, ctypes.byref(context)) == 0
        if not made and ctypes.get_errno() == errno.EAGAIN:
            return None  # others have all there are (fs.aio-max-nr); maybe not the next time
        _made.append(context if made else None)
        if made and _made[0] is not context:
            _syscall(_NR_IO_DESTROY, context)
    return _made[0]


# A context is of one address space: a child's has none.
os.register_at_fork(after_in_child=_made.clear)
