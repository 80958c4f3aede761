# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PluggedDevice: one device in a machine, from the opened vfio.Device to the PCI function."""

from __future__ import annotations

from contextlib import ExitStack

from pyvmm.pci.assigned import Assigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.kvm import Vm
    from pyvmm.memory import AddressMap, GuestMemory
    from pyvmm.vfio import Device, VfioError

    from .dma import DmaSpaces


class PluggedDevice:
    """Owns a device, the mappings of guest memory for its DMA, and its function; can go alone.

    A context manager. Closing it takes the function from the guest, which ends interrupts and
    DMA, then the mappings, then the device: at no time can a device reach what is not mapped.
    """

    def __init__(
        self,
        open: Callable[[Callable[[VfioError], None]], Device],
        lost: Callable[[VfioError], None],
        *,
        vm: Vm,
        memory: GuestMemory,
        spaces: DmaSpaces,
        ports: AddressMap,
        mmio: AddressMap,
        notice: Callable[[str], None],
    ) -> None:
        """Open the device and map guest memory for it; its function is on no bus yet.

        open is given what to call when the device goes; then lost is told, on any thread.
        Raises VfioError, ModelError, PciError, KvmError.
        """
        self._lost = lost
        self._assigned: Assigned | None = None
        with ExitStack() as undo:
            device = undo.enter_context(open(self._gone))
            if device.kvm_file >= 0:
                vm.vfio.add(device.kvm_file, device.name)
                undo.callback(vm.vfio.remove, device.kvm_file, device.name)
            spaces.enter(device.dma)
            undo.callback(spaces.leave, device.dma)
            self.function = undo.enter_context(
                Assigned(
                    device,
                    memory=memory,
                    mmio=mmio,
                    ports=ports,
                    vm=vm,
                    report=notice,
                )
            )
            self._undo = undo.pop_all()
        # A device that went before this fails at its reset, before the guest has it.
        self._assigned = self.function

    def __enter__(self) -> PluggedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take all of it back. Idempotent."""
        self._undo.close()

    def _gone(self, error: VfioError) -> None:
        if self._assigned is not None:
            self._assigned.lost(error)
        self._lost(error)
