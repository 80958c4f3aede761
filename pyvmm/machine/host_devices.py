# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostDevices: opens devices of this host for a guest, by the kernel's VFIO."""

from __future__ import annotations

from contextlib import ExitStack

from pyvmm.vfio import HostDeviceUnavailable
from pyvmm.vfio.kernel import best_backend, open_space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.vfio import Device
    from pyvmm.vfio.kernel import KernelSpace


class HostDevices:
    """Owns the DMA spaces that the host's devices share: one of each back end that they take.

    Most hosts have one for all. Where some devices have a cdev and others haven't, one space
    can't have both, and each maps the guest's memory. A context manager.
    """

    def __init__(self) -> None:
        self._spaces: dict[str | None, KernelSpace] = {}

    def open(self, address: str) -> Device:
        """Open the device at a PCI address. Raises HostDeviceUnavailable, VfioError."""
        backend = best_backend(address)
        if backend == "noiommu":
            raise HostDeviceUnavailable(
                f"{address} has no IOMMU, so a guest that had it could write to all of the host's "
                "memory; switch the IOMMU on (firmware set-up; intel_iommu=on), or use the device "
                "from a driver in user space (pyvmm.vfio.open)"
            )
        space = self._spaces.get(backend)
        if space is None:
            space = self._spaces[backend] = open_space(backend)
        return space.open_device(address)

    def __enter__(self) -> HostDevices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the spaces; each ends with the last of its devices. Idempotent."""
        with ExitStack() as stack:
            while self._spaces:
                stack.callback(self._spaces.popitem()[1].close)
