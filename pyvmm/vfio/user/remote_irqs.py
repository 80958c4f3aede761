# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""RemoteIrqs: a client's settings of the interrupts of a server's device.

A server may have an MSI-X table with masks of its own, as QEMU's has, which is all masked after a
reset and holds back what it doesn't see unmasked. So it is told of masks: a vector is unmasked
there while it has an eventfd, and masked once it has none any more. By messages, UNMASK and MASK,
which QEMU's server and those of libvfio-user take, and which are all that such a server needs: the
vectors' addresses and data are of no use to who signals eventfds. One that refuses UNMASK has the
mask bits written to the table in its region, as a driver would.

A guest's masks of vectors that have their eventfd are the client's affair, who doesn't listen to it
meanwhile: what the server signals, the eventfd remembers. Were the server told, it would have
pending bits of its own, and the guest's would have two homes.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from ...uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from .. import irq_set
from ..device import Device, Fds, IrqData
from ..errors import DeviceError
from .protocol import VFIO_USER_DEVICE_SET_IRQS
from .queries import Queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .remote_table import RemoteTable


class RemoteIrqs:
    """Says them in messages of as many fds as the server takes."""

    def __init__(self, queries: Queries, device: Device, max_fds: int) -> None:
        """device is the one whose interrupts they are; its table may be looked for."""
        self._queries = queries
        self._device = device
        self._name = device.name
        self._max_fds = max_fds
        # What the server takes, until it says otherwise.
        self._takes_mask = self._takes_unmask = True
        self._warned = False
        self._table: RemoteTable | None = None
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
                self._mask(self._unmasked)
            return
        if not self._max_fds and any(fd >= 0 for fd in data):
            doing = f"{self._name}: eventfds for interrupts {start}+{count} of kind {index}"
            raise DeviceError.answered(doing, errno.EOPNOTSUPP, "its server takes no files")
        for at, length, fds in _runs(data, max(1, self._max_fds)):
            vectors = range(start + at, start + at + length)
            lost = self._unmasked.intersection(vectors) if triggers and not fds else set()
            self._mask(lost)  # first: from then on what it can't signal is pending there
            try:
                self._set(index, action, start + at, length, Fds(data[at : at + length]), fds)
            except DeviceError:
                self._unmask(lost)
                raise
            if triggers and fds:
                self._unmask(vectors)

    def was_reset(self) -> None:
        """Vectors keep their eventfds over a reset of the device, which may mask them."""
        self._unmask(self._unmasked)

    def _unmask(self, vectors: Collection[int]) -> None:
        """Have the server let MSI-X vectors through. What it refuses, it is not asked again."""
        self._unmasked.update(vectors)
        if vectors and self._takes_unmask:
            self._takes_unmask = self._tell(VFIO_IRQ_SET_ACTION_UNMASK, vectors)
        if vectors and not self._takes_unmask:
            self._write_table(vectors, masked=False)

    def _mask(self, vectors: Collection[int]) -> None:
        """Have the server hold MSI-X vectors back, as far as it can: they have no eventfd."""
        vectors = list(vectors)
        self._unmasked.difference_update(vectors)
        if vectors and not self._takes_unmask:
            self._write_table(vectors, masked=True)
        elif vectors and self._takes_mask:
            self._takes_mask = self._tell(VFIO_IRQ_SET_ACTION_MASK, vectors)

    def _tell(self, action: int, vectors: Iterable[int]) -> bool:
        """Whether the server takes this action for MSI-X vectors."""
        try:
            for run in irq_set.consecutive(vectors):
                self._set(VFIO_PCI_MSIX_IRQ_INDEX, action, run.start, len(run), None)
        except DeviceError:
            return False
        return True

    def _write_table(self, vectors: Iterable[int], *, masked: bool) -> None:
        """Where there is a table to write: some devices let nobody reach it until they decode."""
        try:
            if self._table is None:
                from .remote_table import RemoteTable  # few servers need it

                self._table = RemoteTable(self._device)
            self._table.set_masked(vectors, masked)
        except DeviceError as error:
            if not (masked or self._warned):
                self._warned = True
                _warn(
                    "%s: its server takes neither UNMASK for MSI-X vectors nor writes to their "
                    "table; if it keeps masks of its own, no interrupt comes: %s",
                    self._name,
                    error,
                )

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


def _warn(what: str, *about: object) -> None:
    """Log a warning. Late import: most processes never log a word."""
    import logging

    logging.getLogger(__name__).warning(what, *about)


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
