# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostVectors: the host state of MSI or MSI-X, what VFIO and KVM have been told of each vector.

A vector in use has an eventfd that the device signals. While the guest lets it through, an irqfd
turns each signal into the guest's interrupt without us; while it is masked there is no irqfd, and
the eventfd itself remembers that the device has signalled. Adding the irqfd again delivers what
is pending, since KVM looks at the eventfd's state when it is given one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from pyvmm.vfio import Device, EventFd

from .interfaces import InterruptVm
from .triggers import Triggers


class Message(NamedTuple):
    """What a vector sends: 32 bits of data to a guest-physical address."""

    address: int
    data: int

    @property
    def is_interrupt(self) -> bool:
        """Whether x86 takes it for one (Intel SDM volume 3, section 11.11.1).

        Bits 32 to 39 are zero also in KVM's format for x2APIC ids above 255, and KVM refuses
        its whole routing table if one entry has them set.
        """
        return self.address >> 20 & 0xFFF == 0xFEE and not self.address >> 32 & 0xFF


class _Vector:
    __slots__ = ("attached", "eventfd", "gsi", "routed")

    def __init__(self) -> None:
        self.eventfd = EventFd()
        self.gsi = -1
        self.routed: Message | None = None
        self.attached = False  # it has an irqfd

    def detach(self, vm: InterruptVm) -> None:
        if self.attached:
            self.attached = False
            vm.remove_irqfd(self.eventfd.fileno(), self.gsi)

    def release(self, vm: InterruptVm) -> None:
        # The route goes with the next commit, whosever it is: nothing can use it any more.
        with self.eventfd:
            try:
                self.detach(vm)
            finally:
                if self.gsi >= 0:
                    vm.routing.free(self.gsi)


class HostVectors:
    """Vectors of one kind, MSI or MSI-X, of one device. Not locked: its owner is.

    Methods raise VfioError and KvmError; what they had done by then is remembered, so that
    calling them again goes on from there.
    """

    def __init__(
        self,
        device: Device,
        index: int,
        vm: InterruptVm,
        pending: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """index is VFIO_PCI_MSI_IRQ_INDEX or VFIO_PCI_MSIX_IRQ_INDEX; pending is for Triggers."""
        self._triggers = Triggers(device, index, pending)
        self._vm = vm
        self._vectors: dict[int, _Vector] = {}

    @property
    def size(self) -> int:
        """How many the device has."""
        return self._triggers.size

    @property
    def limit(self) -> int:
        """Vectors from this number on the host can't give it, as long as this kind is on."""
        return self._triggers.limit

    @property
    def on(self) -> bool:
        """The device signals by this kind of interrupt."""
        return self._triggers.on

    @property
    def used(self) -> Collection[int]:
        """The vectors that have an eventfd."""
        return self._vectors.keys()

    def pending(self, vector: int) -> bool:
        """Whether the device has signalled a vector that can't be delivered now."""
        there = self._vectors.get(vector)
        if there is None:
            return vector in self._triggers.held
        return not there.attached and there.eventfd.pending()

    def enable(self, wanted: Iterable[int]) -> None:
        """Switch the kind on, and give an eventfd to each wanted vector that has none.

        If the host has too few, those below `limit` get theirs, the others are not asked for any
        more, and TooFewVectors is raised. After that, or another error, some may have lost theirs.
        """
        missing = [v for v in wanted if v not in self._vectors and v < self.limit]
        if not missing and self.on:
            return
        vectors = self._vectors.copy()
        try:
            for number in missing:
                vectors[number] = _Vector()
            self._triggers.add({number: vectors[number].eventfd for number in missing})
        finally:
            given = self._triggers.given
            self._vectors = {number: vectors[number] for number in given}
            with ExitStack() as stack:
                for number in vectors.keys() - given:
                    stack.callback(vectors[number].release, self._vm)

    def deliver(self, messages: Mapping[int, Message | None]) -> None:
        """Have used vectors send these messages; None masks a vector."""
        live: list[tuple[_Vector, Message]] = []
        for number, message in messages.items():
            vector = self._vectors.get(number)
            if vector is None:
                continue
            if message is not None and message.is_interrupt:
                live.append((vector, message))
            else:
                vector.detach(self._vm)
        routed: list[tuple[_Vector, Message]] = []
        try:
            for vector, message in live:
                if vector.routed != message:
                    if vector.gsi < 0:
                        vector.gsi = self._vm.routing.allocate()
                    self._vm.routing.set_msi(vector.gsi, message.address, message.data)
                    vector.routed = None
                    routed.append((vector, message))
        finally:
            # Those before the one that failed, if one did, are not held up by it.
            if routed:
                self._vm.routing.commit()
                for vector, message in routed:
                    vector.routed = message
            for vector, message in live:
                if vector.routed == message and not vector.attached:
                    self._vm.irqfd(vector.eventfd.fileno(), vector.gsi)
                    vector.attached = True

    def disable(self) -> None:
        """Switch the kind off; nothing stays pending."""
        vectors, self._vectors = self._vectors, {}
        with ExitStack() as stack:
            for vector in vectors.values():
                stack.callback(vector.release, self._vm)
            self._triggers.clear()
