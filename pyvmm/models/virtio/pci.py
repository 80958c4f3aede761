# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""VirtioDevice: the PCI transport of virtio (section 4.1), for modern drivers.

A device derives from it, says what it has, and handles requests; `rng.py` is the shortest one.
"""

from __future__ import annotations

import struct
from functools import partial

from pyvmm.models.capabilities import MsiX, Vendor
from pyvmm.models.file_dma import Segment
from pyvmm.models.layout import Identity
from pyvmm.models.model import Model
from pyvmm.models.regions import Bar
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import DmaFault

from .virtqueue import Chain, QueueBroken, Virtqueue

MAX_QUEUES = 4
NO_VECTOR = 0xFFFF

# Device status (section 2.1)
FEATURES_OK = 0x08
DRIVER_OK = 0x04
NEEDS_RESET = 0x40

# Features that are the transport's or the queues' (section 6)
INDIRECT_DESC = 1 << 28
EVENT_IDX = 1 << 29
VERSION_1 = 1 << 32

_QUEUE_INTERRUPT, _CONFIG_INTERRUPT = 1, 2  # in the ISR status
_COMMON, _ISR, _DEVICE, _NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
_AREA = 0x1000  # bytes of each
_WINDOW = 0x84  # the capability for access by configuration space
_AT_ONCE = 64  # requests


def identity(type: int, class_code: int) -> Identity:
    """Of a device type (section 5): its PCI device id is 0x1040 and the type."""
    return Identity(
        0x1AF4, 0x1040 + type, class_code, revision=1, subsystem_vendor=0x1AF4, subsystem=0x1100
    )


def _capability(type: int, offset: int, length: int, more: bytes = b"") -> bytes:
    return struct.pack("<BBB2xII", type, 0, 0, offset, length) + more


class QueueRegisters:
    """What the driver has said of one queue."""

    def __init__(self, largest: int) -> None:
        self.size = largest
        self.vector = NO_VECTOR
        self.descriptors = self.driver = self.device = 0
        self.queue: Virtqueue | None = None
        """once it is enabled"""


class VirtioDevice(Model):
    # What a device declares.
    queue_sizes: tuple[int, ...] = ()
    """the largest size of each of up to MAX_QUEUES queues, a power of two"""

    capabilities = (
        Vendor(_capability(1, _COMMON, _AREA), at=0x40),
        Vendor(_capability(2, _NOTIFY, _AREA, struct.pack("<I", 4)), at=0x50),
        Vendor(_capability(3, _ISR, _AREA), at=0x64),
        Vendor(_capability(4, _DEVICE, _AREA), at=0x74),
        Vendor(_capability(5, 0, 0, bytes(4)), b"\0\xff\0\0\0" + b"\xff" * 12, at=_WINDOW),
        MsiX(MAX_QUEUES + 1, table=(0, 0x4000), pba=(0, 0x5000), at=0x98),
    )
    migratable = False  # queues and features are no registers
    interrupt_pin = 1

    bar0 = Bar(0, 0x8000)

    DEVICE_FEATURE_SELECT = bar0.register(0x00)
    DEVICE_FEATURE = bar0.register(0x04, "ro")
    DRIVER_FEATURE_SELECT = bar0.register(0x08)
    DRIVER_FEATURE = bar0.register(0x0C)
    CONFIG_MSIX_VECTOR = bar0.register(0x10, width=2, reset=NO_VECTOR)
    NUM_QUEUES = bar0.register(0x12, "ro", width=2)
    DEVICE_STATUS = bar0.register(0x14, width=1)
    CONFIG_GENERATION = bar0.register(0x15, "ro", width=1)
    QUEUE_SELECT = bar0.register(0x16, width=2)
    QUEUE_SIZE = bar0.register(0x18, width=2)
    QUEUE_MSIX_VECTOR = bar0.register(0x1A, width=2, reset=NO_VECTOR)
    QUEUE_ENABLE = bar0.register(0x1C, width=2)
    QUEUE_NOTIFY_OFF = bar0.register(0x1E, "ro", width=2)
    QUEUE_DESC = bar0.register(0x20, width=8, sizes=(4, 8))
    QUEUE_DRIVER = bar0.register(0x28, width=8, sizes=(4, 8))
    QUEUE_DEVICE = bar0.register(0x30, width=8, sizes=(4, 8))
    ISR_STATUS = bar0.register(_ISR, "ro", width=1)
    device_config = bar0.trapped(_DEVICE, _AREA)
    for _queue in range(MAX_QUEUES):
        bar0.doorbell(_NOTIFY + 4 * _queue, 2).on_ring(
            lambda self, _times, index=_queue: self.notified(index)
        )

    def __init__(self, name: str = "", *, features: int = 0) -> None:
        """`features` are the device type's own, which are offered."""
        self.offered = features | VERSION_1 | INDIRECT_DESC | EVENT_IDX
        self.accepted = 0
        """the features that the driver has accepted"""
        self.queues = [QueueRegisters(size) for size in self.queue_sizes]
        self._notified: set[int] = set()
        self._working = False
        self._reset_asked_for = False
        super().__init__(name)
        self._select(0)

    # For devices to override.

    def handle(self, queue: int, chain: Chain) -> int:
        """Do a request, as work; the bytes written. DmaFault and QueueBroken end the device."""
        raise NotImplementedError

    def at_once(self, queue: int) -> int:
        """How many requests of a queue can be done now, one at least unless something else is
        waited for: when that has come, call notified().
        """
        return _AT_ONCE

    def configuration(self) -> bytes:
        """The device type's own configuration (section 4.1.4.6)."""
        return b""

    # What devices move data with.

    def read_chain(self, chain: Chain, most: int) -> bytes:
        """What the driver has put into a request, up to `most` bytes. Raises DmaFault."""
        return b"".join(self.dma_read(*segment) for segment in part(chain.readable, 0, most))

    def fill_chain(self, chain: Chain, data: bytes) -> int:
        """Write data into a request; how many bytes of them had room. Raises DmaFault."""
        left = memoryview(data)
        for iova, size in part(chain.writable, 0, len(data)):
            self.dma_write(iova, left[:size])
            left = left[size:]
        return len(data) - len(left)

    # Registers.

    @DEVICE_FEATURE.on_read
    def _read_offered(self) -> int:
        return _word(self.offered, self.DEVICE_FEATURE_SELECT)

    @DRIVER_FEATURE.on_read
    def _read_accepted(self) -> int:
        return _word(self.accepted, self.DRIVER_FEATURE_SELECT)

    @DRIVER_FEATURE.on_write
    def _accept(self, value: int) -> None:
        select = self.DRIVER_FEATURE_SELECT
        if select < 2 and not self.DEVICE_STATUS & FEATURES_OK:
            shift = 32 * select
            self.accepted = self.accepted & ~(0xFFFFFFFF << shift) | value << shift

    @NUM_QUEUES.on_read
    def _count_queues(self) -> int:
        return len(self.queues)

    @CONFIG_MSIX_VECTOR.on_write
    def _set_config_vector(self, vector: int) -> None:
        self.CONFIG_MSIX_VECTOR = _vector(vector)

    @DEVICE_STATUS.on_write
    def _set_status(self, status: int) -> None:
        if not status:
            self._reset_asked_for = True
            if not self._working:
                self._reset_device()
        if self._reset_asked_for or not status:
            return  # it reads as 0 once nothing is under way
        known = not self.accepted & ~self.offered and self.accepted & VERSION_1
        if status & FEATURES_OK and not self.DEVICE_STATUS & FEATURES_OK and not known:
            status &= ~FEATURES_OK
        self.DEVICE_STATUS = status | self.DEVICE_STATUS & NEEDS_RESET
        if self.DEVICE_STATUS & DRIVER_OK:
            for index in range(len(self.queues)):
                self.notified(index)

    # Those of the queues show the one that is selected.

    @QUEUE_SELECT.on_write
    def _select(self, index: int) -> None:
        self.QUEUE_SELECT = index
        chosen = self._selected or QueueRegisters(0)
        self.QUEUE_SIZE = chosen.size
        self.QUEUE_MSIX_VECTOR = chosen.vector
        self.QUEUE_ENABLE = int(chosen.queue is not None)
        self.QUEUE_NOTIFY_OFF = index if self._selected else 0
        self.QUEUE_DESC = chosen.descriptors
        self.QUEUE_DRIVER = chosen.driver
        self.QUEUE_DEVICE = chosen.device

    @property
    def _selected(self) -> QueueRegisters | None:
        select = self.QUEUE_SELECT
        return self.queues[select] if select < len(self.queues) else None

    @QUEUE_MSIX_VECTOR.on_write
    def _set_vector(self, vector: int) -> None:
        if self._selected:
            self.QUEUE_MSIX_VECTOR = self._selected.vector = _vector(vector)

    @QUEUE_SIZE.on_write
    def _set_size(self, size: int) -> None:
        chosen = self._selected
        if chosen and not chosen.queue and 0 < size <= self.queue_sizes[self.QUEUE_SELECT]:
            if size & (size - 1):
                self.guest_error("a size of a queue that is no power of two")
            else:
                self.QUEUE_SIZE = chosen.size = size

    @QUEUE_DESC.on_write
    def _set_descriptors(self, iova: int) -> None:
        if self._selected:
            self.QUEUE_DESC = self._selected.descriptors = iova

    @QUEUE_DRIVER.on_write
    def _set_driver(self, iova: int) -> None:
        if self._selected:
            self.QUEUE_DRIVER = self._selected.driver = iova

    @QUEUE_DEVICE.on_write
    def _set_device(self, iova: int) -> None:
        if self._selected:
            self.QUEUE_DEVICE = self._selected.device = iova

    @QUEUE_ENABLE.on_write
    def _enable(self, value: int) -> None:
        chosen = self._selected
        if value == 1 and chosen and not chosen.queue:
            chosen.queue = Virtqueue(
                self,
                chosen.size,
                descriptors=chosen.descriptors,
                driver=chosen.driver,
                device=chosen.device,
                event_index=bool(self.accepted & EVENT_IDX),
            )
            self.QUEUE_ENABLE = 1

    @ISR_STATUS.on_read
    def _read_isr(self) -> int:
        status = self.ISR_STATUS
        self.ISR_STATUS = 0
        self.set_intx(False)
        return status

    @device_config.on_read
    def _read_configuration(self, at: int, size: int) -> int:
        data = self.configuration()[at : at + size]
        return int.from_bytes(data, "little")

    # The window into the BAR that configuration space has (section 4.1.4.9).

    def region_read(self, index: int, offset: int, size: int) -> bytes:
        if index == VFIO_PCI_CONFIG_REGION_INDEX and _touches_window(offset, size):
            with self.lock:
                place = self._window()
                if place:
                    data = super().region_read(0, *place)
                    self.config.data[_WINDOW + 16 : _WINDOW + 16 + len(data)] = data
        return super().region_read(index, offset, size)

    def region_write(self, index: int, offset: int, data: bytes) -> None:
        super().region_write(index, offset, data)
        if index == VFIO_PCI_CONFIG_REGION_INDEX and _touches_window(offset, len(data)):
            with self.lock:
                place = self._window()
                if place:
                    at, size = place
                    written = bytes(self.config.data[_WINDOW + 16 : _WINDOW + 16 + size])
                    super().region_write(0, at, written)

    def _window(self) -> tuple[int, int] | None:
        """Where in the BAR it is: offset and size; None if nowhere."""
        bar = self.config.data[_WINDOW + 4]
        offset, size = self.config.u32(_WINDOW + 8), self.config.u32(_WINDOW + 12)
        if bar or size not in (1, 2, 4) or offset % size or offset + size > self.bar0.size:
            return None
        return offset, size

    # How it works.

    def notified(self, index: int) -> None:
        """With the lock: there may be requests in a queue."""
        if index < len(self.queues) and self.DEVICE_STATUS & DRIVER_OK:
            self._notified.add(index)
            if not self._working:
                self.start(partial(self._do_requests, self._notified), self._requests_done)
                self._working = True

    def _do_requests(self, notified: set[int]) -> str:
        """Do the requests of all queues that were notified; what has gone wrong, or ''.

        A function reset leaves work of before its own set: that of now is not for it to empty.
        """
        try:
            while notified and not self._reset_asked_for:
                index = notified.pop()
                queue = self.queues[index].queue
                if queue and not self.DEVICE_STATUS & NEEDS_RESET and self._serve(index, queue):
                    notified.add(index)
        except DmaFault:
            return "a queue can't be reached"
        except QueueBroken as broken:
            return f"a queue is broken: {broken}"
        except Exception:
            with self.lock:
                self._requests_done("an error in the model")
            raise
        return ""

    def _serve(self, index: int, queue: Virtqueue) -> bool:
        """Do a batch of requests; whether there may be more."""
        most = self.at_once(index)
        if not most:
            return False
        chains = queue.take(most)
        done = []
        for chain in chains:
            if self._reset_asked_for:
                return False  # whose driver waits for no request any more
            done.append((chain.head, self.handle(index, chain)))
        if queue.give_back(done):
            self._interrupt(self.queues[index].vector, _QUEUE_INTERRUPT)
        return bool(chains) or not queue.rest()

    def _requests_done(self, wrong: str) -> None:
        """With the lock."""
        self._working = False
        if self._reset_asked_for:
            self._reset_device()
        elif wrong:
            self.guest_error(wrong)
            self.DEVICE_STATUS |= NEEDS_RESET
            self._interrupt(self.CONFIG_MSIX_VECTOR, _CONFIG_INTERRUPT)
        elif self._notified:
            self.notified(next(iter(self._notified)))

    def _interrupt(self, vector: int, reason: int) -> None:
        with self.lock:
            if self.irq_mode != VFIO_PCI_MSIX_IRQ_INDEX:
                self.ISR_STATUS |= reason
                self.set_intx(True)
            elif vector != NO_VECTOR:
                self.signal(vector)

    def _reset_device(self) -> None:
        """The driver's reset, by the status; of registers, all get their first values."""
        for register in self.bar0.registers:
            self.values[register] = register.reset
        self.set_intx(False)
        self.on_reset()

    def on_reset(self) -> None:
        self.accepted = 0
        self.queues = [QueueRegisters(size) for size in self.queue_sizes]
        self._notified = set()
        self._working = self._reset_asked_for = False
        self._select(0)


def part(segments: list[Segment], start: int, size: int) -> list[Segment]:
    """`size` bytes of segments from `start` on, or as many as there are."""
    found = []
    for iova, length in segments:
        skipped = min(start, length)
        taken = min(length - skipped, size)
        if taken:
            found.append((iova + skipped, taken))
        start -= skipped
        size -= taken
    return found


def _word(features: int, select: int) -> int:
    return features >> 32 * select & 0xFFFFFFFF if select < 2 else 0


def _vector(vector: int) -> int:
    return vector if vector <= MAX_QUEUES else NO_VECTOR


def _touches_window(offset: int, size: int) -> bool:
    return offset < _WINDOW + 20 and offset + size > _WINDOW + 16
