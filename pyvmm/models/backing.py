# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a drive's blocks are in: a file, a block device, or memory, behind one descriptor."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import threading
import uuid
from typing import Protocol

from pyvmm.uapi.ioctl import failure

from .errors import ModelError
from .file_dma import Segment

_FALLOC_FL_KEEP_SIZE = 0x01  # <linux/falloc.h>
_FALLOC_FL_PUNCH_HOLE = 0x02
_ZEROS = bytes(1 << 20)
_MACHINE_ID = "/etc/machine-id"  # machine-id(5)

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Dma(Protocol):
    """What of a model moves data between files and memory."""

    def dma_from_file(
        self,
        fd: int,
        offset: int,
        segments: list[Segment],
        flags: int = 0,
        *,
        straight: bool = False,
    ) -> int: ...

    def dma_to_file(
        self, fd: int, offset: int, segments: list[Segment], *, straight: bool = False
    ) -> int: ...


class NotDurable(OSError):
    """What was written before may be lost, and no flush will ever tell so again."""


class Backing:
    """Owns the descriptor. Methods raise OSError; they wait, but for the quick ones.

    The kernel tells once that it could not write something to a disk, and forgets it with that: the
    next fdatasync(2) succeeds. So after one that failed none does: each raises NotDurable.
    """

    def __init__(
        self, fd: int, size: int, identity: uuid.UUID, *, read_only: bool, name: str = "its memory"
    ) -> None:
        self.fd = fd
        self.name = name
        """the file's path, for messages"""
        self.size = size
        """bytes"""
        self.identity = identity
        """the same each time that the same file of the same host is opened"""
        self.read_only = read_only
        self._lost: int | None = None  # the errno of the first flush that failed
        self._flushing, self._counting = threading.Lock(), threading.Lock()
        self._wanted = self._flushed = 0  # flushes asked for, and how many of them are done
        self._in_memory = _is_memory(fd)
        self._quick_flags = self._flags_for_quick_reads()

    @classmethod
    def open(cls, path: str, *, read_only: bool = False) -> Backing:
        """A file or block device, which no other drive may write. Raises ModelError."""
        doing = f"opening {path} as a drive"
        # What is no drive isn't waited for, as a FIFO's other end would be.
        flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if read_only else os.O_RDWR)
        try:
            fd = os.open(path, flags)
        except OSError as error:
            cures = {
                errno.ENOENT: f"create it first, as with `truncate -s 1G {path}`",
                errno.EACCES: "let this user write it, or set read_only",
                errno.EROFS: "set read_only",
                errno.EISDIR: "name a file or a block device",
                errno.ENXIO: "name a file or a block device",
            }
            cure = cures.get(error.errno or 0, "")
            raise ModelError(failure(doing, "open", error.errno or 0, cure)) from None
        try:
            status = os.fstat(fd)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
                raise ModelError(f"{doing}: it is neither a file nor a block device")
            _lock(fd, doing, read_only=read_only)
            size = os.lseek(fd, 0, os.SEEK_END)
            os.set_blocking(fd, True)
            return cls(fd, size, _identity(path, status), read_only=read_only, name=path)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def memory(cls, size: int, *, read_only: bool = False) -> Backing:
        """Zeros in memory, which takes up only what is written. Raises ModelError."""
        try:
            fd = os.memfd_create("model disk", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        except OSError as error:
            doing = f"allocating {size:#x} bytes for a drive"
            raise ModelError(failure(doing, "memfd_create", error.errno or 0)) from None
        return cls(fd, size, uuid.uuid4(), read_only=read_only)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def read_quickly(self, dma: Dma, offset: int, segments: list[Segment], size: int) -> bool:
        """Read into memory what can be read without waiting; False if not all can."""
        if self._quick_flags is None:
            return False
        try:
            moved = dma.dma_from_file(self.fd, offset, segments, self._quick_flags, straight=True)
        except BlockingIOError:
            return False
        return moved == size

    def read_into(self, dma: Dma, offset: int, segments: list[Segment], size: int) -> None:
        if dma.dma_from_file(self.fd, offset, segments) != size:
            raise OSError(errno.EIO, "the file has become shorter")

    def write_from(self, dma: Dma, offset: int, segments: list[Segment], size: int) -> None:
        """What is to be durable is flushed after that, rather than written with RWF_DSYNC.

        An error of one call for both may be about this write, which may have no room, or about an
        earlier one that is lost: file systems that allocate late say ENOSPC for that, too.
        """
        if dma.dma_to_file(self.fd, offset, segments, straight=self._in_memory) != size:
            raise OSError(errno.EIO, "not all is written")

    def flush(self) -> None:
        """Return when all that was written before is durable.

        One at a time: of two at once the kernel would tell one alone of a loss. Those that wait
        meanwhile have the next one between them.
        """
        with self._counting:
            self._wanted += 1
            mine = self._wanted
        with self._flushing:
            if self._lost is None and self._flushed < mine:
                wanted = self._wanted
                try:
                    os.fdatasync(self.fd)
                except OSError as error:
                    self._lost = error.errno or errno.EIO
                else:
                    self._flushed = wanted
            if self._lost is not None:
                raise NotDurable(self._lost, os.strerror(self._lost))

    def deallocate(self, offset: int, size: int) -> bool:
        """Give blocks back, which read as zeros then; False if this file can't do that."""
        mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
        if _fallocate(self.fd, mode, offset, size) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise OSError(number, os.strerror(number))

    def write_zeroes(self, offset: int, size: int, *, deallocate: bool) -> None:
        if deallocate and self.deallocate(offset, size):
            return
        end = offset + size
        while offset < end:
            offset += os.pwrite(self.fd, _ZEROS[: end - offset], offset)

    def close(self) -> None:
        """Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _flags_for_quick_reads(self) -> int | None:
        """For preadv2, so that it never waits; None if there are none for this file."""
        try:
            os.preadv(self.fd, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return os.RWF_NOWAIT
        except OSError:
            # A file in memory, of a kernel that can't tell, does not wait either.
            return 0 if self._in_memory else None
        return os.RWF_NOWAIT


def _lock(fd: int, doing: str, *, read_only: bool) -> None:
    """Keep two drives from writing one file: it is locked (flock(2)) as long as it is open."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        cure = "end who has it, or set read_only for all"
        raise ModelError(f"{doing}: it is another drive already; {cure}") from None
    except OSError:
        pass  # a file system without locks


def _identity(path: str, status: os.stat_result) -> uuid.UUID:
    """Of a file: by its path and the host, or, on a host without an identity, by its inode."""
    try:
        with open(_MACHINE_ID) as file:
            host = file.read().strip()
    except OSError:
        host = ""
    if len(host) != 32:  # none yet, or "uninitialized"
        host = f"{status.st_dev}:{status.st_ino}"
    return uuid.uuid5(uuid.NAMESPACE_URL, f"file://{host}{os.path.realpath(path)}")


def _is_memory(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:")
