# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ListeningSocket: the path that clients connect to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading

from ..uapi.ioctl import failure
from .errors import CannotListen
from .passed_fds import close_socket

_MAX_PATH = 107


class ListeningSocket:
    """Owns a listening UNIX socket and its file; a context manager.

    Clients connect as soon as the file exists, so it appears when the socket listens: bound
    under another name in the same directory, then renamed. That name is reached by way of the
    open directory: with the directory's path before it, it might not fit into a sockaddr_un.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Listen at path, which may hold the socket of a server that is gone.

        Raises CannotListen, if somebody listens there or it is no socket.
        """
        self.path = os.fspath(path)
        doing = f"listening at {self.path}"
        if len(os.fsencode(self.path)) > _MAX_PATH:
            cure = f"choose one of at most {_MAX_PATH} bytes, which is all that a socket's can have"
            raise CannotListen(failure(doing, "bind", errno.ENAMETOOLONG), cure)
        _check_free(self.path, doing)
        try:
            where = os.path.dirname(self.path) or "."
            directory = os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise _cannot(doing, "open", e) from None
        try:
            self.sock, self._file = _listen(directory, os.path.basename(self.path), doing)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Stop listening, and remove the file, unless it is another server's by now."""
        if self.sock.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            if _identity(os.lstat(self.path)) == self._file:
                os.unlink(self.path)
        close_socket(self.sock)

    def __enter__(self) -> ListeningSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen(directory: int, name: str, doing: str) -> tuple[socket.socket, tuple[int, int]]:
    """A listening socket and the identity of its file."""
    hidden = f".vfio-user-{os.getpid()}-{threading.get_ident():x}"
    call = "socket"
    with contextlib.ExitStack() as undo:
        try:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(hidden, dir_fd=directory)
            call = "bind"
            sock.bind(f"/proc/self/fd/{directory}/{hidden}")
            undo.callback(os.unlink, hidden, dir_fd=directory)
            call = "listen"
            sock.listen()
            call = "stat"
            file = _identity(os.stat(hidden, dir_fd=directory))
            call = "rename"
            os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as e:
            raise _cannot(doing, call, e) from None
        undo.pop_all()
    return sock, file


def _cannot(doing: str, call: str, error: OSError) -> CannotListen:
    number = error.errno or 0
    cures = {
        errno.ENOENT: "make the directory first",
        errno.ENOTDIR: "choose a path within a directory",
        errno.EACCES: "choose a directory you may write to",
        errno.EROFS: "choose a directory you may write to",
        errno.ENOSPC: "make room there, or choose another directory",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }
    if call == "bind":
        # The directory is open by then. The kernel's own, such as /proc, take no files.
        no_files = "no file can be made in that directory: choose another one"
        cures |= {errno.ENOENT: no_files, errno.EPERM: no_files}
    return CannotListen(failure(doing, call, number), cures.get(number, ""))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_free(path: str, doing: str) -> None:
    try:
        status = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise CannotListen(f"{doing}: there is a file that is no socket", "choose another path")
    try:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as e:
        raise _cannot(doing, "socket", e) from None
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        return  # nobody has it open any more
    except OSError:
        pass
    finally:
        close_socket(probe)
    raise CannotListen(f"{doing}: another server listens there", "stop it, or choose another path")
