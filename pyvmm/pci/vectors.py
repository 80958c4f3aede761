# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostVectors: the host state of MSI or MSI-X, what VFIO and KVM have been told of each vector.

A vector in use has an eventfd that the device signals. While the guest lets it through, an irqfd
turns each signal into the guest's interrupt without us; while it is masked there is no irqfd, and
the eventfd itself remembers that the device has signalled. Adding the irqfd again delivers what
is pending, since KVM looks at the eventfd's state when it is given one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from pyvmm.uapi.vfio import VFIO_PCI_MSI_IRQ_INDEX
from pyvmm.vfio import Device, EventFd, TooFewVectors, VfioError

from .interfaces import InterruptVm


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

    def __init__(self, device: Device, index: int, vm: InterruptVm) -> None:
        """index is VFIO_PCI_MSI_IRQ_INDEX or VFIO_PCI_MSIX_IRQ_INDEX."""
        self._device = device
        self._index = index
        self._vm = vm
        info = device.irq_info(index)
        self.size = info.count
        self._noresize = info.noresize
        self._range = 0  # the device has vectors [0, range) enabled; 0: this kind is off
        self.limit = self.size
        """Vectors from this number on the host can't give it, as long as this kind is on."""
        self._vectors: dict[int, _Vector] = {}

    @property
    def on(self) -> bool:
        """The device signals by this kind of interrupt."""
        return self._range > 0

    @property
    def used(self) -> Collection[int]:
        """The vectors that have an eventfd."""
        return self._vectors.keys()

    def pending(self, vector: int) -> bool:
        """Whether the device has signalled a vector that can't be delivered now."""
        there = self._vectors.get(vector)
        return there is not None and not there.attached and there.eventfd.pending()

    def enable(self, wanted: Iterable[int]) -> None:
        """Switch the kind on, and give an eventfd to each wanted vector that has none.

        If the host has too few, those below `limit` get theirs, the others none any more, and
        TooFewVectors is raised.
        """
        missing = [v for v in sorted(wanted) if v not in self._vectors and v < self.limit]
        if not missing and self.on:
            return
        try:
            self._add(missing)
        except TooFewVectors as error:
            self._cut(error.available)
            self._add([vector for vector in missing if vector < self.limit])
            if missing and missing[-1] >= self.limit:
                raise

    def _cut(self, available: int) -> None:
        """Be content with so many; the others are not asked for again and again."""
        if self._index == VFIO_PCI_MSI_IRQ_INDEX and available:
            available = 1 << available.bit_length() - 1  # as MSI counts them
        self.limit = min(available, self.size)

    def _add(self, vectors: Iterable[int]) -> None:
        new: dict[int, _Vector] = {}
        try:
            for vector in vectors:
                new[vector] = _Vector()
            self._set_triggers(new)
        except BaseException:
            for unused in new.values():
                unused.release(self._vm)
            raise
        self._vectors |= new

    def _set_triggers(self, new: Mapping[int, _Vector]) -> None:
        everything = {**self._vectors, **new}
        needed = max(everything, default=0) + 1
        if not self.on:
            self._set_all(everything, needed)
        elif self._noresize and needed > self._range:
            # Doubling makes this rare.
            self._grow(everything, max(needed, min(2 * self._range, self.limit)))
        else:
            # Only the new ones: setting a vector again interrupts its service.
            for run in _runs(new):
                fds = [new[vector].eventfd.fileno() for vector in run]
                self._device.set_triggers(self._index, run[0], fds)
            self._range = max(self._range, needed)

    def _set_all(self, vectors: Mapping[int, _Vector], count: int) -> None:
        """Enable [0, count), all at once, while the kind is off."""
        fds = [vectors[i].eventfd.fileno() if i in vectors else -1 for i in range(count)]
        self._device.set_triggers(self._index, 0, fds)
        self._range = count

    def _grow(self, vectors: Mapping[int, _Vector], count: int) -> None:
        """Have [0, count) enabled, where all must go off before more can come on."""
        before, self._range = self._range, 0
        self._device.disable_irqs(self._index)
        try:
            self._set_all(vectors, count)
        except VfioError:
            self._set_all(self._vectors, before)
            raise
        finally:
            # What the device has signalled meanwhile is lost. Drivers look for what there is to
            # do when an interrupt comes, and if there is nothing, no harm is done; but some wait
            # for ever for one that never comes.
            for vector in self._vectors.values():
                vector.eventfd.signal()

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
            self.limit = self.size
            if self.on:
                self._device.disable_irqs(self._index)
                self._range = 0


def _runs(vectors: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as lists of consecutive ones."""
    runs: list[list[int]] = []
    for vector in vectors:
        if runs and runs[-1][-1] == vector - 1:
            runs[-1].append(vector)
        else:
            runs.append([vector])
    return runs
