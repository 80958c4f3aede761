# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ListeningSocket: the path that clients connect to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from ...uapi.ioctl import failure
from ..errors import CannotListen

_MAX_PATH = 107


class ListeningSocket:
    """Owns a listening UNIX socket and its file; a context manager.

    Clients connect as soon as the file exists, so it appears when the socket listens: bound
    under another name in the same directory, then renamed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Listen at path, which may hold the socket of a server that is gone.

        Raises CannotListen, if somebody listens there or it is no socket.
        """
        self.path = os.fspath(path)
        doing = f"listening at {self.path}"
        if len(os.fsencode(self.path)) > _MAX_PATH:
            cure = f"the path of a UNIX socket has at most {_MAX_PATH} bytes"
            raise CannotListen(failure(doing, "bind", errno.ENAMETOOLONG, cure))
        _check_free(self.path, doing)
        name = f".vfio-user-{os.getpid()}-{id(self):x}"
        hidden = os.path.join(os.path.dirname(self.path), name)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        call = "bind"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(hidden)
            self.sock.bind(hidden)
            call = "listen"
            self.sock.listen()
            call = "rename"
            os.rename(hidden, self.path)
            self._file = _identity(self.path)
        except OSError as e:
            self.sock.close()
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            cures = {
                errno.ENOENT: "make the directory first",
                errno.EACCES: "choose a directory you may write to",
            }
            number = e.errno or errno.ENAMETOOLONG
            raise CannotListen(failure(doing, call, number, cures.get(number, ""))) from None

    def close(self) -> None:
        """Stop listening, and remove the file, unless it is another server's by now."""
        if self.sock.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._file:
                os.unlink(self.path)
        self.sock.close()

    def __enter__(self) -> ListeningSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _check_free(path: str, doing: str) -> None:
    try:
        status = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise CannotListen(f"{doing}: there is a file that is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # nobody has it open any more
        except OSError:
            pass
    raise CannotListen(f"{doing}: another server listens there; stop it, or choose another path")
