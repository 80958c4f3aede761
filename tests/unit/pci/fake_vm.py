# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A KVM that is not there, but behaves as the kernel's does, and keeps a log."""

from __future__ import annotations

import os
from typing import Any

from pyvmm.kvm import KvmError
from pyvmm.pci.vectors import Message

Call = tuple[Any, ...]


class FakeRouting:
    def __init__(self, log: list[Call]) -> None:
        self._log = log
        self._next = 24
        self._free: list[int] = []
        self._wanted: dict[int, Message] = {}
        self.allocated: set[int] = set()
        self.table: dict[int, Message] = {}
        self.capacity = 4096

    def allocate(self) -> int:
        if len(self.allocated) >= self.capacity:
            raise KvmError("all routes are in use")
        if self._free:
            gsi = self._free.pop()
        else:
            gsi = self._next
            self._next += 1
        self.allocated.add(gsi)
        return gsi

    def free(self, gsi: int) -> None:
        self.allocated.remove(gsi)
        self._free.append(gsi)
        self._wanted.pop(gsi, None)

    def set_msi(self, gsi: int, address: int, data: int) -> None:
        assert gsi in self.allocated
        self._wanted[gsi] = Message(address, data)

    def commit(self) -> None:
        if self._wanted != self.table:
            self._log.append(("commit",))
            self.table = self._wanted.copy()


class FakeVm:
    """irqfds and ioeventfds as KVM has them; its log has one entry for each system call."""

    def __init__(self) -> None:
        self.log: list[Call] = []
        self.routing = FakeRouting(self.log)
        self.irqfds: dict[int, tuple[int, int | None]] = {}  # eventfd: gsi, resample
        self._seen: dict[int, int] = {}  # what is left in an eventfd, for which KVM has acted
        self.delivered: list[Message] = []
        self.asserted: dict[int, int] = {}  # level GSIs: the resample eventfd
        self.doorbells: dict[Call, None] = {}
        self.refuse_doorbells = False

    def irqfd(self, eventfd: int, gsi: int, resample: int | None = None) -> None:
        self.log.append(("irqfd", gsi))
        assert eventfd not in self.irqfds, "EBUSY"
        self.irqfds[eventfd] = gsi, resample
        # KVM acts on what is pending already, but leaves it in the eventfd.
        self._seen[eventfd] = count = _drain(eventfd)
        if count:
            self._raise(gsi, resample)
            os.eventfd_write(eventfd, count)

    def remove_irqfd(self, eventfd: int, gsi: int) -> None:
        self.log.append(("remove_irqfd", gsi))
        assert self.irqfds.pop(eventfd)[0] == gsi
        self.asserted.pop(gsi, None)
        # It takes that with it when it lets go.
        del self._seen[eventfd]
        _drain(eventfd)

    def ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None:
        if self.refuse_doorbells:
            raise KvmError("no room for more in-kernel devices")
        key = fd, address, size, pio, datamatch
        assert key not in self.doorbells, "EEXIST"
        self.doorbells[key] = None

    def remove_ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None:
        del self.doorbells[fd, address, size, pio, datamatch]

    def run(self) -> None:
        """What KVM does as soon as an eventfd is signalled."""
        for eventfd, (gsi, resample) in list(self.irqfds.items()):
            count = _drain(eventfd)
            if count > self._seen[eventfd]:
                self._seen[eventfd] = 0
                self._raise(gsi, resample)
            elif count:
                os.eventfd_write(eventfd, count)

    def _raise(self, gsi: int, resample: int | None) -> None:
        if resample is not None:
            self.asserted[gsi] = resample
        elif gsi in self.routing.table:
            self.delivered.append(self.routing.table[gsi])

    def eoi(self, gsi: int) -> None:
        """The guest's, for a level interrupt."""
        os.eventfd_write(self.asserted.pop(gsi), 1)


def _drain(eventfd: int) -> int:
    try:
        return os.eventfd_read(eventfd)
    except BlockingIOError:
        return 0
