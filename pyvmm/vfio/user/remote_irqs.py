# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteIrqs: a client's settings of the interrupts of a server's device.

Masks of MSI-X vectors are the client's affair, who gives a vector no eventfd or doesn't listen to
it: writes to the table in a BAR are not forwarded, and a server is told of no mask. What it
signals meanwhile, the eventfd remembers; told of a mask, it would have pending bits of its own,
and the guest's would have two homes. But a server may have a table with masks all the same, as
QEMU's has, which is all masked after a reset and holds back what it doesn't see unmasked. It is
told by UNMASK, once a vector has an eventfd, which is less than four writes to the table would
be, and all that it takes: the vectors' addresses and data are of no use to a server.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Iterator, Sequence

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from .. import irq_set
from ..device import Fds, IrqData
from ..errors import DeviceError
from .protocol import VFIO_USER_DEVICE_SET_IRQS
from .queries import Queries


class RemoteIrqs:
    """Says them in messages of as many fds as the server takes."""

    def __init__(self, queries: Queries, name: str, max_fds: int) -> None:
        self._queries = queries
        self._name = name
        self._max_fds = max_fds
        self._has_masks = True  # until the server says otherwise
        self._unmasked: set[int] = set()

    def set(self, index: int, action: int, start: int, count: int, data: IrqData) -> None:
        """Device.set_irqs()."""
        if data is not None and len(data) != count:
            doing = f"{self._name}: {count} interrupts with {len(data)} values"
            raise DeviceError.answered(doing, errno.EINVAL)
        triggers = (index, action) == (VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER)
        if not isinstance(data, Fds):
            self._set(index, action, start, count, data)
            if triggers and not count:
                self._unmasked.clear()
            return
        if not self._max_fds and any(fd >= 0 for fd in data):
            doing = f"{self._name}: eventfds for interrupts {start}+{count} of kind {index}"
            raise DeviceError.answered(doing, errno.EOPNOTSUPP, "its server takes no files")
        for at, length, fds in _runs(data, max(1, self._max_fds)):
            self._set(index, action, start + at, length, Fds(data[at : at + length]), fds)
            if triggers:
                vectors = range(start + at, start + at + length)
                if fds:
                    self._unmasked.update(vectors)
                    self._unmask(vectors)
                else:
                    self._unmasked.difference_update(vectors)

    def was_reset(self) -> None:
        """Vectors keep their eventfds over a reset of the device, which may mask them."""
        for vectors in _consecutive(self._unmasked):
            self._unmask(vectors)

    def _unmask(self, vectors: range) -> None:
        """Have the server let MSI-X vectors through. If it refuses, it is not asked again."""
        if self._has_masks:
            index, action = VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK
            try:
                self._set(index, action, vectors.start, len(vectors), None)
            except DeviceError:
                self._has_masks = False

    def _set(
        self,
        index: int,
        action: int,
        start: int,
        count: int,
        data: IrqData,
        fds: Sequence[int] = (),
    ) -> None:
        doing = f"setting interrupts {start}+{count} of kind {index}"
        try:
            payload = irq_set.pack(index, action, start, count, data, fds_aside=True)
        except ValueError as e:
            raise DeviceError.answered(f"{self._name}: {doing}: {e}", errno.EINVAL) from None
        self._queries.ask(doing, VFIO_USER_DEVICE_SET_IRQS, payload, fds)


def _runs(fds: Fds, most: int) -> Iterator[tuple[int, int, Sequence[int]]]:
    """(start, count, fds) for each message: at most so many fds, or none for a run of -1."""
    start = 0
    for given, run in itertools.groupby(fds, lambda fd: fd >= 0):
        values = list(run)
        step = most if given else len(values)
        for at in range(0, len(values), step):
            piece = values[at : at + step]
            yield start + at, len(piece), piece if given else ()
        start += len(values)


def _consecutive(vectors: Iterable[int]) -> list[range]:
    """Numbers as ranges of consecutive ones."""
    runs: list[range] = []
    for vector in sorted(vectors):
        if runs and runs[-1].stop == vector:
            runs[-1] = range(runs[-1].start, vector + 1)
        else:
            runs.append(range(vector, vector + 1))
    return runs
