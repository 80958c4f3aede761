# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Topology: where the devices of a config sit, as far as that can be told without opening them."""

from __future__ import annotations

from pyvmm.pci.bus import DEVICES
from pyvmm.pci.errors import BusConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyvmm.config import Device as DeviceConfig

_HOST_BRIDGE = 0


class Topology:
    """A place for each device: on bus 0, or behind a root port that is there in its stead.

    devfns has, in the config's order, device << 3 | function; ports the device numbers of root
    ports, in ascending order, which is also that of the buses behind them, from 1 on.
    """

    def __init__(self, devices: Sequence[DeviceConfig]) -> None:
        """Raises BusConflict if there are too many."""
        free = _free_devfns([device.slot for device in devices])
        self.devfns = [next(free) if device.slot is None else device.slot for device in devices]
        placed = zip(devices, self.devfns, strict=True)
        self.ports = sorted({devfn >> 3 for device, devfn in placed if device.root_port})

    @property
    def last_bus(self) -> int:
        """The highest number of a bus."""
        return len(self.ports)


def _free_devfns(used: Sequence[int | None]) -> Iterator[int]:
    taken = {devfn >> 3 for devfn in used if devfn is not None} | {_HOST_BRIDGE}
    for device in range(DEVICES):
        if device not in taken:
            yield device << 3
    raise BusConflict("bus 0 has no free device number left; use slots such as 03.1")
