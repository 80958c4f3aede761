# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ImageFile: a file to boot from, read in place or straight into guest RAM."""

from __future__ import annotations

import os
import stat
from errno import EACCES, ENOENT

from pyvmm.uapi.ioctl import failure

from .errors import UnreadableImage

_CURES = {
    ENOENT: "check the path (one that is relative starts at the config's own folder, in --set at "
    "the current one); pyvmm's test guests are built by `make guests`",
    EACCES: "check its permissions and those of its folders",
}


class ImageFile:
    """Owns the open file; a context manager. role says what it is to the guest, for messages."""

    __slots__ = ("_fd", "path", "role", "size")

    def __init__(self, path: str, role: str) -> None:
        """Open a regular file, of at least one byte. Raises UnreadableImage."""
        self.path = path
        self.role = role
        try:
            # Not blocking: to open a FIFO would otherwise wait for its writer.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise self._unreadable("open", error) from None
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage(f"{role} {path} is not a regular file; name an image")
            if status.st_size == 0:
                raise UnreadableImage(f"{role} {path} is empty; build or copy it again")
        except BaseException:
            self.close()
            raise
        self.size = status.st_size

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, offset: int, size: int) -> bytes:
        """Up to size bytes from offset, fewer only at the file's end. Raises UnreadableImage."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise self._unreadable("pread", error) from None

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill target from offset on, without a copy of our own. Raises UnreadableImage."""
        done = 0
        while done < len(target):
            try:
                count = os.preadv(self._fd, [target[done:]], offset + done)
            except OSError as error:
                raise self._unreadable("preadv", error) from None
            if count == 0:
                raise UnreadableImage(f"{self.role} {self.path} became shorter while it was read")
            done += count

    def _unreadable(self, call: str, error: OSError | ValueError) -> UnreadableImage:
        doing = f"reading {self.role} {self.path}"
        if isinstance(error, OSError) and error.errno is not None:
            return UnreadableImage(failure(doing, call, error.errno, _CURES.get(error.errno, "")))
        return UnreadableImage(f"{doing}: {error}")
