# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which PCI functions a device of the kernel hangs on: a disk, a network interface, a tty."""

from __future__ import annotations

import os

from pyvmm.vfio.host import is_address, sysfs


def functions_above(device: str, *, root: str | os.PathLike[str] = "/") -> frozenset[str]:
    """The addresses of all PCI functions without which the device at this sysfs path is gone.

    Bridges, controllers of other buses (USB, VMD) and a virtual function's physical one are among
    them.
    """
    above = {part for part in os.path.realpath(device).split(os.sep) if is_address(part)}
    for address in tuple(above):
        path = os.path.join(os.fspath(root), "sys/bus/pci/devices", address, "physfn")
        physical = sysfs.link_name(path)
        if physical is not None:
            above.add(physical)
    return frozenset(above)
