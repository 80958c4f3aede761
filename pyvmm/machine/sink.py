# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Sink: a file descriptor that takes the guest's serial output, and never holds the guest up.

Whoever reads the output may stop reading (Ctrl-S, a pager), go away, or be a disk that is full.
The vCPU that writes waits for none of that: what can't be written at once waits in a backlog,
which a thread writes out; that thread exists only while there is a backlog.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from contextlib import suppress

from .errors import ConsoleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG_LIMIT = 1 << 20
"""Bytes that may wait; what the guest says beyond is lost, and counted."""

# What a pipe that poll() calls writable takes without blocking.
_CHUNK = select.PIPE_BUF


class Sink:
    """Takes output for fd, which name tells people. Safe from any thread.

    notice is told, in a line, when output is lost or fd takes none any more; its OSErrors don't
    matter. That a client hangs up is no news. fd is closed in the end if it is owned.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        notice: Callable[[str], None] = lambda _: None,
        *,
        owned: bool = False,
        client: bool = False,
        what: str = "serial output",
        limit: int = BACKLOG_LIMIT,
    ) -> None:
        """fd doesn't block if it is owned. client: it is a connection that may come and go."""
        self.name = name
        self._what = what
        self._client = client
        self._fd, self._owned = (fd, owned) if owned else _unblocked(fd)
        self._limit = limit
        self._notice = notice
        self._changed = threading.Condition()
        self._backlog = bytearray()
        self._lost = 0
        self._usable = True
        self._writer: threading.Thread | None = None
        self._wake = -1
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @classmethod
    def open(cls, path: str, notice: Callable[[str], None] = lambda _: None) -> Sink:
        """A sink into the file at path, which is made, or emptied. Raises ConsoleError."""
        # Not blocking: a FIFO without a reader is an error, a terminal no place to wait.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        # Another one that empties it meanwhile leaves no hole.
        flags |= os.O_APPEND
        try:
            fd = os.open(path, flags, 0o644)
        except OSError as error:
            what = f"opening {path} for serial output: open: {_named(error)}"
            nobody = error.errno == errno.ENXIO
            cure = "nobody reads this FIFO" if nobody else "name a file that can be written"
            raise ConsoleError(f"{what}; {cure}") from None
        return cls(fd, path, notice, owned=True)

    def write(self, data: bytes) -> None:
        """Take data. Neither blocks nor raises."""
        problem = ""
        with self._changed:
            if not self._usable:
                return
            if self._writer is None:
                data, self._backlog = bytes(self._backlog) + data, bytearray()
                try:
                    data = data[self._write_what_fits(data) :]
                except OSError as error:
                    problem = self._give_up(error)
            if data and self._usable:
                self._queue(data)
        if problem:
            self._tell(problem)

    def _write_what_fits(self, data: bytes) -> int:
        """How many bytes could be written without waiting. Raises OSError if fd is no good."""
        written = 0
        while written < len(data) and self._poll.poll(0):
            try:
                written += os.write(self._fd, data[written : written + _CHUNK])
            except BlockingIOError:
                break
        return written

    def _queue(self, data: bytes) -> None:
        kept = data[: self._limit - len(self._backlog)]
        self._backlog += kept
        self._lost += len(data) - len(kept)
        if self._writer is None:
            self._start_writer()

    def _start_writer(self) -> None:
        """Where the host has no descriptor or thread left, the backlog waits for the next write."""
        try:
            wake = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError:
            return
        writer = threading.Thread(
            target=self._write_backlog, name=f"serial to {self.name}", daemon=True
        )
        self._wake, self._writer = wake, writer
        try:
            writer.start()
        except RuntimeError:
            self._end_writer()

    def _write_backlog(self) -> None:
        """The thread: write until nothing is left. Never writes with the lock held."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.register(self._wake, select.POLLIN)
        problem = ""
        while not problem:
            with self._changed:
                if not self._backlog:
                    self._end_writer()
                    break
                chunk = bytes(self._backlog[:_CHUNK])
            if (self._wake, select.POLLIN) in poll.poll():
                break  # close() has given up on us
            try:
                written = os.write(self._fd, chunk)
            except BlockingIOError:
                continue
            except OSError as error:
                with self._changed:
                    problem = self._give_up(error)
                    self._end_writer()
                break
            with self._changed:
                del self._backlog[:written]
                self._changed.notify_all()
        if problem:
            self._tell(problem)
        self._tell_lost()

    def _end_writer(self) -> None:
        self._writer = None
        os.close(self._wake)
        self._wake = -1
        self._changed.notify_all()

    def _give_up(self, error: OSError) -> str:
        """fd is no good any more; returns what to tell about it."""
        self._usable = False
        self._backlog.clear()
        if self._client and error.errno in (errno.EPIPE, errno.ECONNRESET):
            return ""
        return (
            f"writing {self._what} to {self.name}: write: {_named(error)}; "
            "the rest of it is not written there"
        )

    def _tell(self, problem: str) -> None:
        with suppress(OSError):
            self._notice(problem)

    def _tell_lost(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost:
            self._tell(f"{lost} bytes of {self._what} are lost: {self.name} took none for so long")

    def close(self, patience: float = 2.0) -> None:
        """Write out the backlog while fd takes some every patience seconds. Idempotent."""
        with self._changed:
            left = -1
            while self._writer is not None and len(self._backlog) != left:
                left = len(self._backlog)
                self._changed.wait(patience)
            self._usable = False
            writer = self._writer
            if writer is not None:
                self._lost += len(self._backlog)
                os.eventfd_write(self._wake, 1)
        if writer is not None:
            # It may still sit in a write that the kernel began and can't finish.
            writer.join(patience)
            self._tell_lost()
            if writer.is_alive():
                return
            with self._changed:
                if self._writer is not None:
                    self._end_writer()
        if self._owned:
            self._owned = False
            os.close(self._fd)


def _unblocked(fd: int) -> tuple[int, bool]:
    """A descriptor to write to instead of fd, and whether it is ours to close.

    A terminal that poll() calls writable may have room for one byte, and block on two. To have
    it say EAGAIN takes a file description of our own: fd's is shared with the shell.
    """
    if os.isatty(fd):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with suppress(OSError):  # another user's terminal, after su; then it has to do
            return os.open(f"/proc/self/fd/{fd}", flags), True
    return fd, False


def _named(error: OSError) -> str:
    return f"{errno.errorcode.get(error.errno or 0, error.errno)} ({error.strerror})"
