# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Msi: the MSI capability of a function (PCI Local Bus 3.0, section 6.8.1).

Guest state is the capability's registers, which lie in the function's ConfigSpace; host state is
a HostVectors. Masking a vector is ours to emulate: VFIO has no way to mask MSI.
"""

from __future__ import annotations

from pyvmm.uapi.pci_regs import (
    PCI_MSI_ADDRESS_HI,
    PCI_MSI_ADDRESS_LO,
    PCI_MSI_DATA_32,
    PCI_MSI_DATA_64,
    PCI_MSI_FLAGS,
    PCI_MSI_FLAGS_64BIT,
    PCI_MSI_FLAGS_ENABLE,
    PCI_MSI_FLAGS_MASKBIT,
    PCI_MSI_FLAGS_QMASK,
    PCI_MSI_FLAGS_QSIZE,
    PCI_MSI_MASK_32,
    PCI_MSI_MASK_64,
    PCI_MSI_PENDING_32,
    PCI_MSI_PENDING_64,
)
from pyvmm.vfio import TooFewVectors

from .config_space import ConfigSpace
from .vectors import HostVectors, Message

_QMASK_SHIFT = 1
_QSIZE_SHIFT = 4


def capability_size(control: int) -> int:
    """Bytes of a capability with this control word: 10, 14, 20 or 24."""
    size = PCI_MSI_DATA_64 + 2 if control & PCI_MSI_FLAGS_64BIT else PCI_MSI_DATA_32 + 2
    if control & PCI_MSI_FLAGS_MASKBIT:
        size += 2 + 4 + 4  # up to a dword, mask bits, pending bits
    return size


class Msi:
    """One function's MSI. Not locked: its owner is. reconcile() raises VfioError and KvmError."""

    def __init__(self, config: ConfigSpace, offset: int, control: int, host: HostVectors) -> None:
        """Declare the registers of the capability at offset; control is the device's own word.

        There are as many messages as control says, and no more than the host can signal (at
        least one).
        """
        self._config = config
        self._offset = offset
        self._host = host
        wide = bool(control & PCI_MSI_FLAGS_64BIT)
        messages_log2 = min(
            (control & PCI_MSI_FLAGS_QMASK) >> _QMASK_SHIFT, 5, host.size.bit_length() - 1
        )
        self._messages = 1 << messages_log2
        self._wide = wide
        self._data = offset + (PCI_MSI_DATA_64 if wide else PCI_MSI_DATA_32)
        self._mask = self._pending = 0
        self.end = offset + capability_size(control)
        """Where the capability ends, in configuration space."""
        kept = control & (PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT)
        self._reset_control = kept | messages_log2 << _QMASK_SHIFT
        config.make_writable(offset + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE)
        config.make_writable(offset + PCI_MSI_ADDRESS_LO, 4, ~3)
        if wide:
            config.make_writable(offset + PCI_MSI_ADDRESS_HI, 4)
        config.make_writable(self._data, 2)
        if control & PCI_MSI_FLAGS_MASKBIT:
            self._mask = offset + (PCI_MSI_MASK_64 if wide else PCI_MSI_MASK_32)
            self._pending = offset + (PCI_MSI_PENDING_64 if wide else PCI_MSI_PENDING_32)
            config.make_writable(self._mask, 4, (1 << self._messages) - 1)
        self.reset()

    @property
    def enabled(self) -> bool:
        return bool(self._control & PCI_MSI_FLAGS_ENABLE)

    @property
    def _control(self) -> int:
        return self._config.u16(self._offset + PCI_MSI_FLAGS)

    def reset(self) -> None:
        """The guest's registers as after a function reset. reconcile() must follow."""
        start = self._offset + PCI_MSI_FLAGS
        self._config.data[start : self.end] = bytes(self.end - start)
        self._config.set_u16(start, self._reset_control)

    def has_pending_bits(self, offset: int, size: int) -> bool:
        """Whether any of these bytes of configuration space are the pending bits."""
        return bool(self._pending) and offset < self._pending + 4 and self._pending < offset + size

    def update_pending_bits(self) -> None:
        """Bring them up to date, for a guest that is about to read them."""
        bits = sum(1 << vector for vector in self._host.used if self._host.pending(vector))
        self._config.set_u32(self._pending, bits)

    def reconcile(self, on: bool) -> None:
        """Bring the host in line; on says that MSI is the kind of interrupt in use."""
        host = self._host
        if not on:
            host.disable()
            return
        allotted = 1 << ((self._control & PCI_MSI_FLAGS_QSIZE) >> _QSIZE_SHIFT)
        count = min(allotted, self._messages)
        if host.on and min(count, host.limit) != len(host.used):
            # VFIO fixes the number when MSI goes on; guests should change it only while off.
            host.disable()
        try:
            host.enable(range(count))
        except TooFewVectors as error:
            # The device has fewer then, and sends by those what it would send by the others.
            error.cure = f"the guest has {host.limit} of {count} messages; a host has one at "
            error.cure += "most if it doesn't remap interrupts"
            raise
        finally:
            host.deliver({vector: self._message(vector, count) for vector in range(count)})

    def _message(self, vector: int, count: int) -> Message | None:
        config = self._config
        if self._mask and config.u32(self._mask) >> vector & 1:
            return None
        address = config.u32(self._offset + PCI_MSI_ADDRESS_LO)
        if self._wide:
            address |= config.u32(self._offset + PCI_MSI_ADDRESS_HI) << 32
        # The function owns the low bits of data, as many as number its messages.
        return Message(address, config.u16(self._data) & -count | vector)
