# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a function was before it became VFIO's, kept on disk until it is given back.

One file for each, in /run/pyvmm/bindings, or in the user's own runtime directory if that can't be
written: `unbind` may be run days after `bind`, but what was noted must not outlive the boot.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from ...uapi.ioctl import failure
from ..errors import HostDeviceUnavailable
from .functions import HostFunction


class Record(NamedTuple):
    """A function's driver, and override, from before."""

    vendor: int
    device: int
    driver: str | None
    driver_override: str | None

    @classmethod
    def of(cls, function: HostFunction) -> Record:
        """A function as it is now."""
        return cls(function.vendor, function.device, function.driver, function.driver_override)

    @classmethod
    def parse(cls, text: bytes) -> Record | None:
        """None if this isn't what save() writes: it ends up in paths of sysfs."""
        try:
            vendor, device, *names = (json.loads(text)[field] for field in cls._fields)
        except (ValueError, KeyError, TypeError):
            return None
        if not all(isinstance(number, int) for number in (vendor, device)):
            return None
        for name in names:
            if name is not None and (not isinstance(name, str) or "/" in name or name[:1] == "."):
                return None
        return cls(vendor, device, *names)


class Records:
    """The records there are; one process at a time changes them."""

    __slots__ = ("_directories",)

    def __init__(self, *, root: str | os.PathLike[str] = "/") -> None:
        own = os.environ.get("XDG_RUNTIME_DIR")
        self._directories = [os.path.join(os.fspath(root), "run/pyvmm/bindings")]
        if own:
            self._directories.append(os.path.join(own, "pyvmm/bindings"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process binds or unbinds, and keep others from it meanwhile.

        Raises HostDeviceUnavailable.
        """
        doing = "keeping others from changing drivers"
        directory = self._writable(doing)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HostDeviceUnavailable(
                failure(doing, f"open {directory}", error.errno or 0),
                "raise the limit on open files (ulimit -n)"
                if error.errno in (errno.EMFILE, errno.ENFILE)
                else "",
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def save(self, function: HostFunction, record: Record) -> None:
        """Note what a function is now. Raises HostDeviceUnavailable."""
        doing = f"noting the driver of {function}, to give it back later"
        path = os.path.join(self._writable(doing), function.bdf)
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(record._asdict(), file)
            os.replace(f"{path}.new", path)
        except OSError as error:
            raise HostDeviceUnavailable(failure(doing, f"write {path}", error.errno or 0)) from None

    def find(self, function: HostFunction) -> Record | None:
        """What was noted of a function; None if nothing was, or of another device there."""
        for directory in self._directories:
            try:
                fd = os.open(
                    os.path.join(directory, function.bdf),
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                )
            except OSError:
                continue
            with open(fd, "rb") as file:
                # Somebody else's notes could make root bind any driver to any device.
                ours = os.fstat(fd).st_uid in (0, os.geteuid())
                record = Record.parse(file.read()) if ours else None
            if record and record[:2] == (function.vendor, function.device):
                return record
        return None

    def forget(self, function: HostFunction) -> None:
        """Drop what was noted of a function, if anything was."""
        for directory in self._directories:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, function.bdf))

    def _writable(self, doing: str) -> str:
        """The first directory that can be had."""
        refusals = []
        for directory in self._directories:
            try:
                os.makedirs(directory, 0o755, exist_ok=True)
            except OSError as error:
                refusals.append((f"mkdir {directory}", error.errno or 0))
                continue
            if os.access(directory, os.W_OK):
                return directory
            refusals.append((f"access {directory}", errno.EACCES))
        call, number = refusals[0]
        cure = "do it as root (sudo)"
        # Who isn't root can't have the kernel bind anything, wherever that is noted.
        if number not in (errno.EACCES, errno.EPERM):
            cure += ", or set XDG_RUNTIME_DIR to a directory of yours"
        raise HostDeviceUnavailable(failure(doing, call, number), cure)
