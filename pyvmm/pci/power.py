# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Power: the power state of an assigned function, followed from the guest's writes.

In any state but D0 a function takes configuration accesses alone (PCI Bus Power Management 1.2,
section 5.4.1). VFIO takes the device's memory away in D3hot: who touches a mapping of it gets
SIGBUS, and a vCPU that does ends the guest. So the BARs must be gone before the device is.
"""

from __future__ import annotations

from pyvmm.uapi.pci_regs import PCI_PM_CTRL_STATE_MASK
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX

from .guard import Guard

_CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
_D0 = 0


class Power:
    """One function's. Not locked: its owner is."""

    def __init__(self, guard: Guard, control: int) -> None:
        """control is the offset of the register with the state, PMCSR; 0 if there is none."""
        self._guard = guard
        self._control = control
        self._state = _D0
        self._asked = False

    @property
    def on(self) -> bool:
        """It is in D0."""
        return self._state == _D0

    def expect(self, offset: int, size: int, value: int) -> None:
        """The guest is about to write to configuration space; maybe the state."""
        self._asked = bool(self._control) and offset <= self._control < offset + size
        if self._asked:
            self._state = value >> 8 * (self._control - offset) & PCI_PM_CTRL_STATE_MASK

    def settle(self) -> None:
        """The device has seen that write. A state that it hasn't got leaves it where it was."""
        if self._asked:
            self._asked = False
            read = self._guard.read(_CONFIG, self._control, 2)
            if read != 0xFFFF:  # it doesn't answer
                self._state = read & PCI_PM_CTRL_STATE_MASK

    def wake(self) -> None:
        """Back to D0, for a reset of the function."""
        if not self.on:
            self._state = _D0
            self._guard.write(_CONFIG, self._control, 2, 0)
