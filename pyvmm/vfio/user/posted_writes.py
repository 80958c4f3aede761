# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PostedWrites: which writes a client sends without waiting for an answer (No_reply).

They are sound where PCI Express has them too: writes to memory BARs. A server carries commands
out in order, so whatever is asked after a posted write, a read above all, is answered after it;
and as on a bus nobody is told if the device refuses it. Configuration space and I/O ports have
writes that are waited for. Once the device is reached past the socket, by mapped memory or a
doorbell's eventfd, a write there could overtake a posted one: none is posted any more, and those
that were are waited for, by something that is asked after them.

It is for servers that know No_reply: another's answers to what wants none end the connection. Each
is sent at once, by itself. To hold writes back, in order to send several in one message, would
save the server a little, and cost the guest the time.
"""

from __future__ import annotations

from ...uapi.pci_regs import PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_SPACE_IO, PCI_STD_NUM_BARS
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from ..device import Device


class PostedWrites:
    """Knows which regions of a device are memory BARs. From any thread."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: dict[int, bool] = {}

    def takes(self, index: int) -> bool:
        """Whether writes to a region may be posted. Raises VfioError."""
        found = self._memory.get(index)
        if found is None:
            found = self._memory[index] = index < PCI_STD_NUM_BARS and self._is_memory(index)
        return found

    def _is_memory(self, index: int) -> bool:
        register = PCI_BASE_ADDRESS_0 + 4 * index
        (low,) = self._device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, register, 1)
        return not low & PCI_BASE_ADDRESS_SPACE_IO
