# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KernelFile: an open file of the kernel's VFIO, whose failed calls are told in full."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Mapping

from ..errors import DeviceError, DeviceGone, ProtocolError, VfioError
from .call import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...uapi.ioctl import Argument

Cures = Mapping[int, str] | Callable[[int], str | None]
"""By errno: what the cause is, and what to do about it, where that is known."""

# The kernel's chains have a handful of short entries.
_MAX_INFO_SIZE = 64 << 10
_NONE: Cures = {}


class KernelFile:
    """Owns a file descriptor; a context manager. name is for messages: a BDF, a path.

    Calls raise DeviceError, or DeviceGone for an ENODEV that the caller knows no other cause
    of, and once it is closed.
    """

    def __init__(self, fd: int, name: str) -> None:
        """Take over fd."""
        self._fd = fd
        self.name = name

    def fileno(self) -> int:
        if self._fd < 0:
            raise DeviceGone(f"{self.name}: closed")
        return self._fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def ioctl(self, request: str, arg: Argument = 0, *, doing: str, cures: Cures = _NONE) -> int:
        """Make the call that the kernel names so; tells its result."""
        try:
            return call(self.fileno(), request, arg, doing=f"{self.name}: {doing}")
        except DeviceError as e:
            raise _explained(e, cures) from None

    def ask(self, request: str, question: bytes, *, doing: str, cures: Cures = _NONE) -> bytes:
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

    def pread(self, size: int, offset: int, *, doing: str, cures: Cures = _NONE) -> bytes:
        """Read exactly size bytes."""
        try:
            data = os.pread(self.fileno(), size, offset)
        except OSError as e:
            raise self._refused(doing, "pread", e, cures) from None
        if len(data) != size:
            raise self._short(doing, "pread", len(data), size)
        return data

    def pwrite(self, data: bytes, offset: int, *, doing: str, cures: Cures = _NONE) -> None:
        """Write all of the data."""
        try:
            done = os.pwrite(self.fileno(), data, offset)
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
        fd = self.fileno()
        self._fd = -1
        return fd

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> KernelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _explained(error: DeviceError, cures: Cures) -> VfioError:
    """The same error with its cure; DeviceGone if ENODEV has no other explanation."""
    try:
        known = cures(error.errno) if callable(cures) else cures.get(error.errno)
    except VfioError:
        known = None  # looking for the cause has failed, too
    error.cure = error.cure or known or ""
    if error.errno == errno.ENODEV and not error.cure:
        return DeviceGone(error.cause)
    return error
