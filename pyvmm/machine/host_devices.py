# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostDevices: opens devices of this host for a guest, by the kernel's VFIO."""

from __future__ import annotations

from contextlib import ExitStack

from pyvmm.vfio.kernel import best_backend, open_space

from .host_checks import check_devices, check_reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyvmm.memory import MemoryRegion
    from pyvmm.vfio.kernel import KernelDevice, KernelSpace


class HostDevices:
    """Owns the DMA spaces that the host's devices share: one of each back end that they take.

    Most hosts have one for all. Where some devices have a cdev and others haven't, one space
    can't have both, and each maps the guest's memory. A context manager.
    """

    def __init__(self, *, root: str = "/") -> None:
        """root is where the host's sys, proc and dev are."""
        self._root = root
        self._spaces: dict[str | None, KernelSpace] = {}
        self._opened: dict[str, KernelDevice] = {}

    def open(self, addresses: Sequence[str], memory: Iterable[MemoryRegion]) -> None:
        """Open the devices at these PCI addresses, for a guest with this memory.

        None is touched if it can be told that the guest can't have them all. Those that are not
        taken are close()'s. Raises HostDeviceUnavailable, VfioError.
        """
        memory = tuple(memory)
        check_devices(addresses, memory, root=self._root)
        for address in addresses:
            space = self._space(best_backend(address, self._root))
            self._opened[address] = space.open_device(address)
            check_reach(address, space.iova_ranges(), memory)

    def _space(self, backend: str | None) -> KernelSpace:
        space = self._spaces.get(backend)
        if space is None:
            space = self._spaces[backend] = open_space(backend, root=self._root)
        return space

    def take(self, address: str) -> KernelDevice:
        """The device at an address, which was opened, and is the caller's from now on."""
        return self._opened.pop(address)

    def __enter__(self) -> HostDevices:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the spaces; each ends with the last of its devices. Idempotent."""
        with ExitStack() as stack:
            while self._spaces:
                stack.callback(self._spaces.popitem()[1].close)
            while self._opened:
                stack.callback(self._opened.popitem()[1].close)
