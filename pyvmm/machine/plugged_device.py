# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PluggedDevice: one device in a machine, from the opened vfio.Device to the PCI function."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress

from pyvmm.kvm import KvmError
from pyvmm.pci.assigned import Assigned
from pyvmm.uapi.pci_regs import PCI_COMMAND
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from pyvmm.vfio import DeviceGone, VfioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.kvm import Vm
    from pyvmm.memory import AddressMap, GuestMemory
    from pyvmm.vfio import Device
    from pyvmm.vfio.kernel import Notices

    from .dma import DmaSpaces


class PluggedDevice:
    """Owns a device, the mappings of guest memory for its DMA, and its function; can go alone.

    A context manager. Closing it takes the function from the guest, which ends interrupts and
    DMA, then the mappings, then the device: at no time can a device reach what is not mapped.

    A device of the host that somebody unbinds or unplugs is lost to the guest, as one is whose
    server dies, and closed, which is what they wait for; so is one with an uncorrectable error,
    which would do nothing sensible any more. The guest goes on.
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
        settle: Callable[[], None],
        rom: str | None = None,
    ) -> None:
        """Open the device and map guest memory for it; its function is on no bus yet.

        open is given what to call when the device goes; then lost is told, on any thread.
        settle() waits until no vCPU is in a handler in which it was. rom is the config's: the
        path of an expansion ROM, "none", or None for the device's own. Raises VfioError,
        ModelError, PciError, KvmError.
        """
        image = _rom_image(rom)
        self._lost = lost
        self._notice = notice
        self._settle = settle
        self._assigned: Assigned | None = None
        self._notices: Notices | None = None
        self._given_up = False
        self._not_back: Exception | None = None
        self._told = threading.Lock()  # who tells of its loss takes it, for good
        self.resets = 0
        """How often the guest's resets have been its too."""
        self.cannot_be_reset = False
        """It was told that there is no way to."""
        self._lock = threading.Lock()  # who takes it back; not before there is all of it
        with self._lock, ExitStack() as undo:
            self.device = device = undo.enter_context(open(self._gone))
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
                    rom=image,
                )
            )
            # A device that went before this fails at its reset, before the guest has it.
            self._assigned = self.function
            if device.kvm_file >= 0:
                from pyvmm.vfio.kernel import Notices

                self._notices = Notices(device, request=self._wanted_back, error=self._failed)
            self._undo = undo.pop_all()

    def __enter__(self) -> PluggedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take all of it back. Idempotent."""
        if self._notices is not None:
            self._notices.close()
        self._take_back()

    def discard(self) -> None:
        """Take it back while the guest goes on: notice is told of what goes wrong with that."""
        try:
            self._take_back()
        except (VfioError, KvmError) as failure:
            self._notice(str(failure))

    @property
    def missing(self) -> Exception | None:
        """Why the guest hasn't got it: why it was lost, or why it couldn't be had back the last
        time. None if it is there.
        """
        return self._not_back or self.function.guard.gone

    def not_back(self, error: Exception) -> None:
        """It was lost, and what was to take its place couldn't be had."""
        self._not_back = error

    def lose(self, error: Exception) -> None:
        """It is lost to the guest, as somebody else has found out, and perhaps still there."""
        self._gone(error if isinstance(error, VfioError) else DeviceGone(str(error)))
        self._silence()

    def _take_back(self) -> None:
        with self._lock:
            self._undo.close()

    def _gone(self, error: VfioError) -> None:
        if self._assigned is not None:
            self._assigned.lost(error)
        if self._told.acquire(blocking=False):
            self._lost(error)

    def _silence(self) -> None:
        """No more DMA of a device that may still be there."""
        with suppress(VfioError):
            self.device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, bytes(2))

    # -- on the thread of the notices ---------------------------------------------------------

    def _wanted_back(self) -> None:
        self._give_up(DeviceGone(f"the host takes {self.device.name} back"))

    def _failed(self) -> None:
        self._give_up(DeviceGone(f"{self.device.name} has had an uncorrectable error"))

    def _give_up(self, error: VfioError) -> None:
        """The device is lost, although it is still there: have it closed as soon as can be."""
        if self._given_up:  # who wants it back asks again and again
            return
        self._given_up = True
        self._gone(error)
        # Nobody begins to use it any more; who has begun may have its file's number in hand.
        self._settle()
        self._silence()
        self.discard()


def _rom_image(rom: str | None) -> bytes | None:
    if rom is None or rom == "none":
        return None if rom is None else b""
    from pyvmm.pci.rom import read_rom_file

    return read_rom_file(rom)
