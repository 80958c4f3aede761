# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Msix: the MSI-X capability of a function, its table and its pending bits.

Source: PCI Local Bus 3.0, section 6.8.2. Guest state is the capability's control word, in the
function's ConfigSpace, and the table; host state is a HostVectors. MsixTable and MsixPba are how
a guest reaches the two arrays in a BAR.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyvmm.uapi.pci_regs import (
    PCI_MSIX_ENTRY_CTRL_MASKBIT,
    PCI_MSIX_ENTRY_SIZE,
    PCI_MSIX_ENTRY_VECTOR_CTRL,
    PCI_MSIX_FLAGS,
    PCI_MSIX_FLAGS_ENABLE,
    PCI_MSIX_FLAGS_MASKALL,
    PCI_MSIX_FLAGS_QSIZE,
    PCI_MSIX_PBA,
    PCI_MSIX_PBA_BIR,
    PCI_MSIX_TABLE,
    PCI_MSIX_TABLE_BIR,
)
from pyvmm.vfio import Interval

from .config_space import ConfigSpace
from .function_lock import FunctionLock
from .vectors import HostVectors, Message

if TYPE_CHECKING:
    from pyvmm.memory import IoHandler

_MASKED = bytes(PCI_MSIX_ENTRY_VECTOR_CTRL) + PCI_MSIX_ENTRY_CTRL_MASKBIT.to_bytes(4, "little")


class Msix:
    """One function's MSI-X. Not locked: its owner is. reconcile() raises VfioError and KvmError.

    A vector gets its eventfd when it is used: when the function is not masked, and the entry has
    been unmasked or given an address. So a guest that fills in its entries before it lifts the
    function mask, as Linux does, has them all set up with one call; and a vector that is masked
    from then on keeps what the device signals. Before that the device does so itself.
    """

    def __init__(
        self,
        config: ConfigSpace,
        offset: int,
        control: int,
        table: int,
        pba: int,
        host: HostVectors,
    ) -> None:
        """Declare the capability at offset; control, table and pba are the device's registers.

        There are as many vectors as control says, and no more than the host can signal.
        """
        self._config = config
        self._control_at = offset + PCI_MSIX_FLAGS
        self._host = host
        self.size = min((control & PCI_MSIX_FLAGS_QSIZE) + 1, host.size)
        config.set_u16(self._control_at, self.size - 1)
        config.make_writable(self._control_at, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
        config.set_u32(offset + PCI_MSIX_TABLE, table)
        config.set_u32(offset + PCI_MSIX_PBA, pba)
        self.table_region = table & PCI_MSIX_TABLE_BIR
        self.table_area = Interval.sized(
            table & ~PCI_MSIX_TABLE_BIR, PCI_MSIX_ENTRY_SIZE * self.size
        )
        self.pba_region = pba & PCI_MSIX_PBA_BIR
        self.pba_area = Interval.sized(pba & ~PCI_MSIX_PBA_BIR, (self.size + 63) // 64 * 8)
        self.reset()

    @property
    def enabled(self) -> bool:
        return bool(self._control & PCI_MSIX_FLAGS_ENABLE)

    @property
    def used(self) -> int:
        """How many vectors have their eventfd."""
        return len(self._host.used)

    @property
    def _masked(self) -> bool:
        return bool(self._control & PCI_MSIX_FLAGS_MASKALL)

    @property
    def _control(self) -> int:
        return self._config.u16(self._control_at)

    def reset(self) -> None:
        """The guest's state as after a function reset. reconcile() must follow."""
        self._config.set_u16(self._control_at, self.size - 1)
        self._table = bytearray(_MASKED * self.size)
        self._written: set[int] = set()  # entries that are not as after a reset
        self._changed: set[int] = set()  # entries written since the last reconcile()
        self._was_masked: bool | None = None  # what reconcile() last told the host; None: off

    # -- what the guest reads and writes --------------------------------------------------------

    def read_table(self, offset: int, size: int) -> int:
        """Read size bytes at offset of the table, within it."""
        return int.from_bytes(self._table[offset : offset + size], "little")

    def write_table(self, offset: int, size: int, value: int) -> None:
        """Write likewise. reconcile() must follow."""
        self._table[offset : offset + size] = value.to_bytes(size, "little")
        first = offset // PCI_MSIX_ENTRY_SIZE
        last = (offset + size - 1) // PCI_MSIX_ENTRY_SIZE
        for vector in range(first, last + 1):
            control = vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL
            self._table[control] &= PCI_MSIX_ENTRY_CTRL_MASKBIT
            self._table[control + 1 : control + 4] = bytes(3)  # reserved
            self._changed.add(vector)
            if self._table[vector * PCI_MSIX_ENTRY_SIZE : control + 4] == _MASKED:
                self._written.discard(vector)
            else:
                self._written.add(vector)

    def read_pba(self, offset: int, size: int) -> int:
        """Read size bytes at offset of the pending bit array, within it: our share of them."""
        bits = range(8 * offset, min(8 * (offset + size), self.size))
        return sum(1 << (i - bits.start) for i in bits if self._host.pending(i))

    # -- what the host is told ------------------------------------------------------------------

    def reconcile(self, on: bool) -> None:
        """Bring the host in line; on says that MSI-X is the kind of interrupt in use."""
        host = self._host
        if not on:
            self._was_masked = None
            host.disable()
            return
        masked = self._masked
        look_at = self._changed
        if masked != self._was_masked:
            look_at = self._written | self._changed
        try:
            host.enable(vector for vector in look_at if self._in_use(vector))
        except BaseException:
            # Others may have lost their eventfds: with the guest's next write all are looked at.
            self._was_masked = None
            raise
        finally:
            host.deliver({vector: self._message(vector) for vector in look_at})
        # Only now: what failed is tried again with the guest's next write.
        self._changed = set()
        self._was_masked = masked

    def _in_use(self, vector: int) -> bool:
        address, _, masked = self._entry(vector)
        return not self._masked and (not masked or address != 0)

    def _message(self, vector: int) -> Message | None:
        address, data, masked = self._entry(vector)
        return None if masked or self._masked else Message(address, data)

    def _entry(self, vector: int) -> tuple[int, int, bool]:
        """Address, data and mask bit."""
        at = vector * PCI_MSIX_ENTRY_SIZE
        entry = self._table[at : at + PCI_MSIX_ENTRY_SIZE]
        return (
            int.from_bytes(entry[0:8], "little"),
            int.from_bytes(entry[8:12], "little"),
            bool(entry[PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT),
        )


class MsixTable:
    """The handler of a BAR's accesses to the MSI-X table, by offset in the BAR."""

    def __init__(self, msix: Msix, lock: FunctionLock, reconcile: Callable[[], None]) -> None:
        """reconcile() is that of all the function's interrupts, and lock what guards them."""
        self._msix = msix
        self._lock = lock
        self._reconcile = reconcile
        self._start = msix.table_area.start

    def read(self, offset: int, size: int) -> int:
        return self._msix.read_table(offset - self._start, size)

    def write(self, offset: int, size: int, value: int) -> None:
        with self._lock:
            self._msix.write_table(offset - self._start, size, value)
            self._reconcile()


class MsixPba:
    """The handler of a BAR's accesses to the pending bit array, by offset in the BAR.

    A vector is pending if its eventfd says so, or the device: it alone knows of vectors that are
    not in use yet, and some devices hold back the others while the function is masked.
    """

    def __init__(self, msix: Msix, lock: FunctionLock, below: IoHandler) -> None:
        """below answers with the device's own bits."""
        self._msix = msix
        self._lock = lock
        self._below = below
        self._start = msix.pba_area.start

    def read(self, offset: int, size: int) -> int:
        # In this order no bit is missed that the device hands to the eventfd meanwhile.
        theirs = self._below.read(offset, size)
        if theirs == (1 << 8 * size) - 1:
            theirs = 0  # it doesn't answer
        at = offset - self._start
        vectors = max(0, min(8 * size, self._msix.size - 8 * at))
        with self._lock:
            return theirs & (1 << vectors) - 1 | self._msix.read_pba(at, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """The guest can't: the bits are read-only."""
