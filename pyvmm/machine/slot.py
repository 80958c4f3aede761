# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Slot: the place of one device of the config, which it may lose and have back.

A device in another process is lost with that process, or with the connection to it. When the guest
is reset, or somebody asks for it, it is plugged in anew: what is left of the lost one is taken back
first; then connection, version, regions, mappings for DMA, doorbells and interrupts are set up by
the code that did so before boot. So no state of before is brought back, and none needs to be.
"""

from __future__ import annotations

from pyvmm.kvm import KvmError
from pyvmm.pci.errors import BadDevice, PciError
from pyvmm.pci.identity import difference
from pyvmm.vfio import VfioError

from .errors import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.config import Device as DeviceConfig

    from .plugged_device import PluggedDevice


def way_back(config: DeviceConfig) -> str:
    """What has to be for a lost device to come back, for people; "" if it never does."""
    if config.socket is not None:
        return "its server runs again and the guest is reset"
    return "the guest is reset" if config.process else ""


class Slot:
    """Owns what is plugged in, the device that is there or was lost; a context manager."""

    def __init__(
        self,
        plug: Callable[[], PluggedDevice],
        *,
        comes_back: bool,
        absent: Callable[[Exception], None],
    ) -> None:
        """Plug the device in, by plug(), which is for each time that it comes.

        absent(error) is told why it could not come back. Raises what plug() raises.
        """
        self._plug = plug
        self._comes_back = comes_back
        self._absent = absent
        self.plugged = plug()
        """what is there, or, as long as it is missing, what was"""
        self._identity = self.plugged.function.identity

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.plugged.close()

    def bring_back(self) -> bool:
        """If the device is lost, have it back; whether it is, and is to be reset then.

        Only as the device that it was: one that differs in what the guest, or its place, was made
        for is refused. No vCPU may be in the guest.
        """
        lost = self.plugged.function
        if self.plugged.missing is None or not self._comes_back:
            return False
        self.plugged.discard()
        try:
            back = self._plug()
        except (VfioError, PciError, KvmError, MachineError) as error:
            self._not_back(error)
            return False
        differs = difference(self._identity, back.function.identity)
        if differs:
            back.discard()
            what = f"{lost.name} is not the device it was: {differs}"
            self._not_back(BadDevice(f"{what}; have it serve the one that the guest booted with"))
            return False
        lost.bus.replace(lost, back.function)
        back.resets = self.plugged.resets
        self.plugged = back
        return True

    def _not_back(self, error: Exception) -> None:
        self.plugged.not_back(error)
        self._absent(error)
