# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What an assigned device needs of the machine around it. pyvmm.kvm.Vm is such a Vm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Report = Callable[[str], None]
"""Takes a line for people about something odd a guest or a device did."""


class Routing(Protocol):
    """KVM's table of GSIs. Changes reach KVM with commit(), all at once."""

    def allocate(self) -> int: ...

    def free(self, gsi: int, /) -> None: ...

    def set_msi(self, gsi: int, address: int, data: int, /) -> None: ...

    def commit(self) -> None: ...


class InterruptVm(Protocol):
    """How eventfds become interrupts. The methods raise KvmError."""

    @property
    def routing(self) -> Routing: ...

    def irqfd(self, eventfd: int, gsi: int, resample: int | None = None) -> None:
        """Each signal of eventfd is an interrupt on gsi; at once, if it has been signalled.

        With resample it is a level, which goes down with the guest's EOI, and resample tells.
        """

    def remove_irqfd(self, eventfd: int, gsi: int) -> None:
        """The end of that. Signals from now on stay in eventfd."""


class Vm(InterruptVm, Protocol):
    """The same, and doorbells."""

    def ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None:
        """A write of size bytes (0: any) at address signals fd, and is nothing else."""

    def remove_ioeventfd(
        self, fd: int, address: int, size: int, *, pio: bool = False, datamatch: int | None = None
    ) -> None: ...
