# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KernelSpace: what all DMA spaces of the kernel's have in common: devices, and lives that overlap.

A space is there before its devices, and ends after them: closed earlier, it goes with the last.
"""

from __future__ import annotations

import contextlib
import errno
from abc import abstractmethod
from collections.abc import Callable, Iterator

from ..dma import IOVA_END, DmaMapping, DmaSpace
from ..errors import DeviceError, HostDeviceUnavailable, VfioError
from ..host import HostFunction, IommuGroup
from ..intervals import Interval
from ..mapping import Mapping
from .device import KernelDevice
from .map_errors import explain, reserved_by
from .opening import parse_token, patiently

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uuid import UUID


class KernelSpace(DmaSpace):
    """An IO address space of the kernel's, in which devices of this host can be opened."""

    backend: str
    """What it is: "type1v2", "type1", "iommufd", "iommufd-compat" or "noiommu"."""

    def __init__(self, root: str) -> None:
        """root is where the host's sys, proc and dev are."""
        super().__init__()
        self.root = root
        self._devices = 0
        self._ending = False
        self._files: dict[int, Mapping] = {}

    def open_device(self, bdf: str, *, vf_token: UUID | str | None = None) -> KernelDevice:
        """Open the device at a PCI address, which reaches what is mapped here, now and later.

        vf_token is for a virtual function whose physical function is VFIO's, too. Raises
        HostDeviceUnavailable if it can't be had, and VfioError.
        """
        token = parse_token(vf_token)
        function = HostFunction(bdf, root=self.root)
        return self._open(function.bdf, lambda: self._join(function, token))

    @abstractmethod
    def map_bar(
        self,
        iova: int,
        device: KernelDevice,
        index: int,
        area: Interval,
        *,
        writable: bool = True,
    ) -> None:
        """Let the devices here reach part of a BAR of another device (peer-to-peer DMA).

        area is page-aligned, within the region's mappable areas. It is unmapped as memory is,
        before that device is closed. Whether the hardware lets peers talk to each other nobody
        can tell. Raises DeviceError.
        """

    def close(self) -> None:
        """Unmap everything and let it go, now or when the last of its devices is closed."""
        with self._lock:
            self._ending = True
            if not self._devices:
                super().close()

    @abstractmethod
    def _join(
        self, function: HostFunction, vf_token: UUID | None
    ) -> tuple[int, int, Callable[[], None]]:
        """Open a device in this space: its fd, the one for KVM, and what lets its place go.

        The fd is to be closed first.
        """

    @abstractmethod
    def _groups_here(self) -> tuple[IommuGroup, ...]:
        """The groups of its devices."""

    @abstractmethod
    def _map_memory(self, mapping: DmaMapping) -> None:
        """Make the mapping; DeviceError as the kernel tells it."""

    def _open(
        self, name: str, join: Callable[[], tuple[int, int, Callable[[], None]]]
    ) -> KernelDevice:
        def attempt() -> KernelDevice:
            with self._lock:
                if self._ending:
                    raise DeviceError.answered(
                        f"opening {name}", errno.EBADF, "its DMA space is closed"
                    )
                fd, kvm_file, leave = join()
                self._devices += 1
                self._ranges_changed()
                return KernelDevice(
                    fd, name, self, lambda: self._left(leave), kvm_file, root=self.root
                )

        return patiently(attempt)

    def _check_room(self, host: IommuGroup) -> None:
        """Make sure that nothing is mapped where a group that is to join can't have it."""
        for reserved in reserved_by([host]):
            there = self._book.overlapping(reserved.range)
            if there:
                raise HostDeviceUnavailable(
                    f"group {host.number} can't share this DMA space: {reserved}, and {there} "
                    "is mapped",
                    "unmap it first",
                )

    def _left(self, leave: Callable[[], None]) -> None:
        """A device has been closed."""
        with self._lock:
            self._devices -= 1
            try:
                leave()
            finally:
                self._ranges_changed()
                if self._ending:
                    self.close()

    def _address(self, mapping: DmaMapping) -> int:
        """Where its memory is in this process; what comes as a file alone is mapped here first.

        It stays so until _let_file_go(). Raises DeviceError.
        """
        if mapping.address:
            return mapping.address
        file = self._files.get(mapping.iova)
        if file is None:
            file = self._files[mapping.iova] = Mapping(
                mapping.fd,
                mapping.offset,
                mapping.size,
                writable=mapping.writable,
                what=f"mapping {mapping}",
            )
        return file.address

    def _let_file_go(self, iova: int) -> None:
        file = self._files.pop(iova, None)
        if file:
            file.close()

    def _map(self, mapping: DmaMapping) -> None:
        with self._explained(mapping):
            self._map_memory(mapping)

    @contextlib.contextmanager
    def _explained(self, mapping: DmaMapping) -> Iterator[None]:
        """Errors of mapping this get their cause and cure."""
        try:
            yield
        except DeviceError as error:
            error.cure = error.cure or self._explain(error.errno, mapping)
            raise

    def _explain(self, number: int, mapping: DmaMapping) -> str:
        try:
            return explain(
                number,
                mapping.interval,
                address=mapping.address,
                writable=mapping.writable,
                mapped=len(self._book),
                ranges=self.iova_ranges(),
                reserved=reserved_by(self._groups_here()),
            )
        except (OSError, VfioError):  # what went wrong first is what counts
            return ""

    def _check(self, mapping: DmaMapping) -> None:
        """Whole pages. What the IOMMU reaches the kernel knows best: it is asked."""
        doing = f"mapping {mapping}"
        page = self.page_size
        for what, number in (
            ("IOVA", mapping.iova),
            ("size", mapping.size),
            ("address", mapping.address),
            ("offset", mapping.offset),
        ):
            if number % page:
                cure = f"the {what} {number:#x} is not a multiple of the page size {page:#x}"
                raise DeviceError.answered(doing, errno.EINVAL, cure)
        if mapping.size <= 0:
            raise DeviceError.answered(doing, errno.EINVAL, "the size is not a positive number")
        if mapping.iova < 0 or mapping.iova + mapping.size > IOVA_END:
            raise DeviceError.answered(doing, errno.EINVAL, "an IOVA has 64 bits")
        if not (mapping.readable or mapping.writable):
            raise DeviceError.answered(doing, errno.EINVAL, "the device may neither read nor write")
