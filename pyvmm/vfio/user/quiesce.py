# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Quiescing a served device between two clients, while the memory of the first is still mapped."""

from __future__ import annotations

from ...uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER
from ...uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX
from ..device import Device
from .survive import survive


def quiesce(device: Device) -> None:
    """Have a device do nothing any more of what its client told it to; the next one begins anew.

    It is reset, as the kernel's vfio-pci does to a device that is closed: timers and work are
    dropped, and registers that tell of them with them. Most devices keep their configuration
    space over that, so bus mastering is switched off besides: what the device still does, or is
    made to do before its next driver is there, reaches no memory. Its doorbells are revoked: a
    client may keep their eventfds for ever, and would ring the next one's device.
    """
    name = device.name
    with survive(f"{name}: revoking its doorbells"):
        device.revoke_ioeventfds()  # first: what was rung until now, the reset undoes
    if device.info.resettable:
        with survive(f"{name}: resetting it after its client"):
            device.reset()
    # Second: a device that is being saved may refuse all writes until then.
    with survive(f"{name}: switching its bus mastering off"):
        low = device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2)
        command = int.from_bytes(low, "little")
        if command & PCI_COMMAND_MASTER:
            quiet = (command & ~PCI_COMMAND_MASTER).to_bytes(2, "little")
            device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, quiet)
