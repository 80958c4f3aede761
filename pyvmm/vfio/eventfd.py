# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""EventFd: an eventfd with an owner; how interrupts and doorbells travel between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys

from ..uapi.ioctl import failure
from . import eventfd_signal
from .errors import DeviceError, VfioError
from .waiting import poll_timeout

_OUT_OF_DESCRIPTORS = "raise the limit of open files (ulimit -n)"


class EventFd:
    """Owns an eventfd (eventfd(2)); a context manager. Signalling and reading never block."""

    def __init__(self) -> None:
        """Make a new one, at zero. Raises VfioError if the process is out of descriptors."""
        try:
            self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as e:
            text = failure("creating an eventfd", "eventfd", e.errno or 0)
            raise VfioError(text, _OUT_OF_DESCRIPTORS) from None

    @classmethod
    def from_fd(cls, fd: int) -> EventFd:
        """Another reference to somebody's eventfd, which they may close after this.

        Raises DeviceError (EINVAL) if fd is no eventfd or a semaphore (EFD_SEMAPHORE), (EBADF) if
        it is not open at all, and (EMFILE) if this process is out of descriptors.
        """
        self = cls.__new__(cls)
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            raise DeviceError.answered(f"using fd {fd} as an eventfd", errno.EBADF) from None
        if target != "anon_inode:[eventfd]":
            raise DeviceError.answered(f"using fd {fd} ({target}) as an eventfd", errno.EINVAL)
        try:
            if _is_semaphore(fd):
                # It could stay pending for 2^64 - 2 reads.
                doing = f"using fd {fd}, which counts down by one (EFD_SEMAPHORE), as an eventfd"
                raise DeviceError.answered(doing, errno.EINVAL)
            self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError as e:
            doing = f"duplicating eventfd {fd}: fcntl"
            raise DeviceError.answered(doing, e.errno, _OUT_OF_DESCRIPTORS) from None
        return self

    def fileno(self) -> int:
        return self._fd

    def signal(self) -> None:
        """Add one to the counter, unless it is full: then there is enough to wake up for."""
        if eventfd_signal.signal(self._fd):
            return
        # Without that help: who shares it could fill it right after this look at it.
        if self._ready(select.POLLOUT):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self._fd, 1)

    def read(self) -> int:
        """The counter, which goes to 0; 0 if nothing was pending."""
        counter = bytearray(8)
        try:
            os.preadv(self._fd, [counter], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            # Kernels before 5.8 know no RWF_NOWAIT for eventfds.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE):
                raise
            return os.eventfd_read(self._fd) if self._ready(select.POLLIN) else 0
        return int.from_bytes(counter, sys.byteorder)

    def pending(self) -> bool:
        """Whether it has been signalled since the last read(); changes nothing."""
        return self._ready(select.POLLIN)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is signalled; False if that takes longer than timeout seconds."""
        return self._ready(select.POLLIN, timeout)

    def _ready(self, events: int, timeout: float | None = 0) -> bool:
        poll = select.poll()
        poll.register(self._fd, events)
        return bool(poll.poll(poll_timeout(timeout)))

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> EventFd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EventFd({self._fd})"


def _is_semaphore(fd: int) -> bool:
    """Whether read(2) takes one from its counter, not all; as kernels since 6.5 tell."""
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return any(line.split() == ["eventfd-semaphore:", "1"] for line in file)
