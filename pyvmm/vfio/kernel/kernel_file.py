# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KernelFile: an open file of the kernel's VFIO, whose failed calls are told in full."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
import warnings
from collections.abc import Callable

from ..errors import DeviceError, DeviceGone, ProtocolError, VfioError
from ..features import NO_CURES, Cures, find_cure
from .call import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...uapi.ioctl import Argument

# The kernel's chains have a handful of short entries.
_MAX_INFO_SIZE = 64 << 10


class _Held:
    """Keeps a file's descriptor open meanwhile, whoever closes the file; `with` gives its number.

    Another thread's open() may have the number as soon as it is closed, and what was meant for
    the device would go into that file.
    """

    __slots__ = ("_enter", "_leave")

    def __init__(self, enter: Callable[[], int], leave: Callable[[], None]) -> None:
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> int:
        return self._enter()

    def __exit__(self, *_: object) -> None:
        self._leave()


class KernelFile:
    """Owns a file descriptor; a context manager. name is for messages: a BDF, a path.

    Calls may be made by any thread. They raise DeviceError, or DeviceGone once it is closed, and
    for an ENODEV that the caller knows no other cause of. Calls under way when it is closed end
    as if it weren't, and the last of them closes the descriptor.
    """

    def __init__(self, fd: int, name: str, *, on_closed: Callable[[], None] = lambda: None) -> None:
        """Take over fd; on_closed is called when the descriptor has been closed by close()."""
        self._fd = fd
        self.name = name
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False
        self._pid = os.getpid()

    def fileno(self) -> int:
        if self._closed:
            raise DeviceGone(f"{self.name}: closed")
        return self._fd

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def inherited(self) -> bool:
        """This process was forked from the one that opened it, whose device it still is."""
        return os.getpid() != self._pid

    @property
    def held(self) -> _Held:
        """A context manager, in which the descriptor stays open. Raises DeviceGone."""
        return _Held(self._enter, self._leave)

    def _enter(self) -> int:
        with self._lock:
            fd = self.fileno()
            self._users += 1
        return fd

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
        self._close_unused()

    def ioctl(self, request: str, arg: Argument = 0, *, doing: str, cures: Cures = NO_CURES) -> int:
        """Make the call that the kernel names so; tells its result."""
        try:
            with self.held as fd:
                return call(fd, request, arg, doing=f"{self.name}: {doing}")
        except DeviceError as e:
            raise _explained(e, cures) from None

    def ask(self, request: str, question: bytes, *, doing: str, cures: Cures = NO_CURES) -> bytes:
        """Make a call whose answer may have a chain of capabilities after it.

        question is the structure to begin with, whose first member is argsz: it is grown to
        what the kernel wants, and the answer is complete.
        """
        size = len(question)
        while True:
            buffer = ctypes.create_string_buffer(question, size)
            struct.pack_into("=I", buffer, 0, size)
            self.ioctl(request, buffer, doing=doing, cures=cures)
            needed: int = struct.unpack_from("=I", buffer)[0]
            if needed <= size:
                return buffer.raw[: max(needed, len(question))]
            if needed > _MAX_INFO_SIZE:
                raise ProtocolError(f"{self.name}: {doing}: {request}: an answer of {needed} bytes")
            size = needed

    def pread(self, size: int, offset: int, *, doing: str, cures: Cures = NO_CURES) -> bytes:
        """Read exactly size bytes."""
        try:
            with self.held as fd:
                data = os.pread(fd, size, offset)
        except OSError as e:
            raise self._refused(doing, "pread", e, cures) from None
        if len(data) != size:
            raise self._short(doing, "pread", len(data), size)
        return data

    def pwrite(self, data: bytes, offset: int, *, doing: str, cures: Cures = NO_CURES) -> None:
        """Write all of the data."""
        try:
            with self.held as fd:
                done = os.pwrite(fd, data, offset)
        except OSError as e:
            raise self._refused(doing, "pwrite", e, cures) from None
        if done != len(data):
            raise self._short(doing, "pwrite", done, len(data))

    def _short(self, doing: str, call: str, done: int, size: int) -> DeviceError:
        what = f"{self.name}: {doing}: {call}: only {done} of {size} bytes"
        return DeviceError.answered(what, errno.EIO)

    def _refused(self, doing: str, request: str, error: OSError, cures: Cures) -> VfioError:
        what = f"{self.name}: {doing}: {request}"
        return _explained(DeviceError.answered(what, error.errno), cures)

    def take(self) -> int:
        """Hand the file descriptor on: it is the caller's, and this is closed."""
        with self._lock:
            fd = self.fileno()
            self._closed = True
            self._fd = -1
        return fd

    def close(self) -> None:
        """Close it, now or with the last call that is under way. Idempotent."""
        self._closed = True
        self._close_unused()

    def _close_unused(self) -> None:
        with self._lock:
            if not self._closed or self._users or self._fd < 0:
                return
            fd, self._fd = self._fd, -1
        os.close(fd)
        self._on_closed()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        # Only the descriptor: garbage is collected in the middle of anything.
        if self._fd >= 0:
            if not self.inherited:
                _warn(f"{self.name} was not closed", ResourceWarning, source=self)
            os.close(self._fd)

    def __enter__(self) -> KernelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _explained(error: DeviceError, cures: Cures) -> VfioError:
    """The same error with its cure; DeviceGone if it says so, and is nothing else's."""
    try:
        known = find_cure(cures, error.errno)
    except VfioError:
        known = None  # looking for the cause has failed, too
    error.cure = error.cure or known or ""
    if error.errno in (errno.ENODEV, errno.EBADF) and not error.cure:
        return DeviceGone(error.cause)
    return error
