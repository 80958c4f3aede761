# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Puts plugged devices where a machine's topology has them, with addresses for their BARs."""

from __future__ import annotations

from pyvmm.pci.allocator import number_buses, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.pci.allocator import Windows
    from pyvmm.pci.assigned import Assigned
    from pyvmm.pci.bus import Bus

    from .topology import Topology


def put_on_bus(
    functions: Sequence[Assigned], topology: Topology, bus: Bus, windows: Windows
) -> None:
    """Put the functions, and root ports, on bus 0 or behind them, and place their BARs.

    They are still to be reset, ports last. Raises PciError.
    """
    ports = {}
    for number, device in enumerate(topology.ports, 1):
        from pyvmm.pci.root_port import RootPort

        ports[device] = port = RootPort(number)
        bus.add(port, device=device)
    number_buses(bus)
    # In order of their functions: software looks for function 0 first.
    for devfn, function in sorted(
        zip(topology.devfns, functions, strict=True), key=lambda pair: pair[0]
    ):
        device, number = devfn >> 3, devfn & 7
        if device in ports:
            ports[device].secondary.add(function, device=0, number=number)
        else:
            bus.add(function, device=device, number=number)
    place(bus.functions, windows)
