# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts: a function's INTx, MSI and MSI-X, of which one at a time is in use.

A guest switches between them as often as it likes, by the enable bits of the capabilities. VFIO
takes one kind only while the others are off, so what must go goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pyvmm.kvm import KvmError
from pyvmm.vfio import VfioError

from .guard import Guard
from .intx import Intx
from .msi import Msi
from .msix import Msix


class Interrupts:
    """All interrupts of one function. Not locked: its owner is."""

    def __init__(self, guard: Guard, intx: Intx, msi: Msi | None, msix: Msix | None) -> None:
        self.intx = intx
        self.msi = msi
        self.msix = msix
        self._guard = guard
        self._kinds: list[Intx | Msi | Msix] = [k for k in (intx, msi, msix) if k is not None]

    def reconcile(self) -> None:
        """Bring the host in line with what the guest has asked for. Never raises."""
        if self._guard.gone:
            return
        in_use: Intx | Msi | Msix = self.intx
        if self.msi is not None and self.msi.enabled:
            in_use = self.msi
        if self.msix is not None and self.msix.enabled:  # both at once is undefined
            in_use = self.msix
        for kind in (*(kind for kind in self._kinds if kind is not in_use), in_use):
            # Whatever is wrong with one that goes, the guest may still have the one it asked for.
            try:
                kind.reconcile(kind is in_use)
            except (VfioError, KvmError) as error:
                self._guard.failed("interrupt changes refused", error)
                if self._guard.gone:
                    return

    @property
    def vectors(self) -> Iterator[tuple[str, int]]:
        """The kinds of interrupt with vectors, MSI and MSI-X, and how many each has."""
        if self.msi is not None:
            yield "MSI", self.msi.size
        if self.msix is not None:
            yield "MSI-X", self.msix.size

    def in_use(self) -> str:
        """The kind in use and how much of it, for people."""
        if self.msix is not None and self.msix.enabled:
            return f"MSI-X, {self.msix.used} of {self.msix.size} vectors"
        if self.msi is not None and self.msi.enabled:
            return f"MSI, {self.msi.used} of {self.msi.size} vectors"
        return f"INTx, GSI {self.intx.gsi}" if self.intx.used else "none"

    def reset(self) -> None:
        """Everything off and as after a function reset; reconcile() turns INTx on again."""
        try:
            self.close()
        except (VfioError, KvmError) as error:
            self._guard.failed("interrupt changes refused", error)
        self.intx.disabled = False
        if self.msi is not None:
            self.msi.reset()
        if self.msix is not None:
            self.msix.reset()

    def close(self) -> None:
        """Everything off, and nothing pending. Idempotent. Raises VfioError and KvmError."""
        with ExitStack() as stack:
            for kind in self._kinds:
                stack.callback(kind.reconcile, False)
