# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which processes have a file open: who it is that keeps a group or a device cdev busy."""

from __future__ import annotations

import os
from typing import NamedTuple

from . import sysfs


class Holder(NamedTuple):
    """A process that has the file open."""

    pid: int
    command: str
    user: int
    """The user ID it runs as."""

    def __str__(self) -> str:
        if self.pid == os.getpid():
            return "this process"
        return f"{self.command} (process {self.pid} of {user_name(self.user)})"


def holders(path: str, *, root: str | os.PathLike[str] = "/") -> tuple[Holder, ...]:
    """The processes that have path open, as far as we may see them; root may see all."""
    proc = os.path.join(os.fspath(root), "proc")
    wanted = _without_root(path, os.fspath(root))
    found = []
    for pid in sorted(int(name) for name in sysfs.listing(proc) if name.isdigit()):
        process = os.path.join(proc, str(pid))
        fds = os.path.join(process, "fd")
        if any(_target(os.path.join(fds, fd)) == wanted for fd in sysfs.listing(fds)):
            found.append(Holder(pid, _command(process), _user(process)))
    return tuple(found)


def other_holders(path: str, *, root: str | os.PathLike[str] = "/") -> tuple[Holder, ...]:
    """Those of holders() that are not this process."""
    return tuple(holder for holder in holders(path, root=root) if holder.pid != os.getpid())


def held_by(path: str, *, root: str | os.PathLike[str] = "/") -> str:
    """Who has path open, in words; "" if nobody has, as far as we may see."""
    # Whoever asks may have opened it too, to be told then that it is not to be had.
    found = other_holders(path, root=root) or holders(path, root=root)
    return f"{path} is open in {', '.join(map(str, found))}" if found else ""


def who_is_busy(path: str, *, root: str | os.PathLike[str] = "/") -> str:
    """held_by() for a path that is known to be busy, and what to do; or why nobody was found."""
    found = held_by(path, root=root)
    if found:
        return f"{found}; end that first"
    if os.geteuid() != 0:
        return f"{path} is open in another user's process; root can see which (fuser -v {path})"
    return f"{path} is open in a process that can't be seen from here (in another container?)"


def user_name(uid: int) -> str:
    """A user's name, or the number of one who has none here."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _without_root(path: str, root: str) -> str:
    """The path as processes that live below root know it."""
    return os.path.join("/", os.path.relpath(path, root))


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _command(process: str) -> str:
    return sysfs.read_text(os.path.join(process, "comm")) or "?"


def _user(process: str) -> int:
    try:
        return os.stat(process).st_uid
    except OSError:
        return -1
