# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""FakeKernel: ioctl() answered by a script, for what no kernel at hand would say."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

from pyvmm.uapi import vfio
from pyvmm.vfio.kernel.kernel_file import KernelFile

BDF = "fake:01:00.0"

Handler = Callable[[memoryview], int | None]
"""Sees the argument's bytes and may change them; its result is the call's. Raises OSError."""


def refuse(number: int) -> Handler:
    """Answer with an errno."""

    def handler(data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    return handler


class FakeKernel:
    """What it isn't told to answer it refuses with ENOTTY, as the kernel does."""

    def __init__(self) -> None:
        self.handlers: dict[int, Handler] = {}
        self.calls: list[tuple[int, bytes]] = []

    def on(self, name: str, handler: Handler) -> None:
        self.handlers[getattr(vfio, name)] = handler

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> int:
        os.fstat(fd)  # EBADF, if it isn't open
        data = memoryview(bytearray()) if isinstance(arg, int) else memoryview(arg).cast("B")
        self.calls.append((request, bytes(data)))
        return self.handlers.get(request, refuse(errno.ENOTTY))(data) or 0

    def asked(self, name: str) -> list[bytes]:
        """The arguments of all calls with this name so far."""
        return [data for request, data in self.calls if request == getattr(vfio, name)]


def answer(structure: ctypes.Structure, chain: bytes = b"") -> Handler:
    """Fill in a structure; and what follows it, if there is room for all of it."""
    full = bytes(structure) + chain

    def handler(data: memoryview) -> None:
        given = full if len(data) >= len(full) else bytes(structure)[: len(data)]
        data[4 : len(given)] = given[4:]
        data[:4] = len(full).to_bytes(4, "little")

    return handler


def open_file(content: bytes = bytes(4096), name: str = BDF) -> KernelFile:
    """A file to read and write, whose ioctls go to the fake kernel."""
    fd = os.memfd_create("fake device")
    os.write(fd, content)
    return KernelFile(fd, name)
