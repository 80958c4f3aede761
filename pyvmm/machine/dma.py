# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Keeps a DMA space in step with guest memory: IOVA = guest-physical address.

One MAP_DMA per region, never per page. RAM and ROM are mapped, ROM read-only, as on a PC, where
a device can read the firmware; BARs of other devices are not.
"""

from __future__ import annotations

import threading

from pyvmm.memory import DEVICE
from pyvmm.vfio import DeviceGone, VfioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyvmm.memory import GuestMemory, MemoryRegion
    from pyvmm.vfio import DmaSpace


class DmaSpaces:
    """The DMA spaces of a machine's devices, each mapped once, however many devices share it."""

    def __init__(self, memory: GuestMemory, notice: Callable[[str], None]) -> None:
        self._memory = memory
        self._notice = notice
        self._lock = threading.Lock()
        self._users: dict[DmaSpace, tuple[DmaMapper, int]] = {}

    def enter(self, space: DmaSpace) -> None:
        """A device that uses the space needs guest memory in it. Raises VfioError."""
        with self._lock:
            mapper, users = self._users.get(space, (None, 0))
            if mapper is None:
                mapper = DmaMapper(space, self._notice)
                self._memory.add_observer(mapper)
            self._users[space] = (mapper, users + 1)

    def leave(self, space: DmaSpace) -> None:
        """It doesn't need it any more: with the last one, the mappings go."""
        with self._lock:
            mapper, users = self._users.pop(space)
            if users > 1:
                self._users[space] = (mapper, users - 1)
            else:
                self._memory.remove_observer(mapper)


class DmaMapper:
    """An observer of GuestMemory that maps each region into one DmaSpace.

    Mapping raises what the space raises. Unmapping doesn't, so that the other regions are taken
    back too; notice is told, unless the device has gone, which was told already.
    """

    def __init__(self, space: DmaSpace, notice: Callable[[str], None]) -> None:
        self._space = space
        self._notice = notice

    def region_added(self, region: MemoryRegion) -> None:
        if region.kind != DEVICE:
            self._space.map(
                region.gpa,
                region.size,
                address=region.host,
                fd=region.fd,
                offset=region.offset,
                writable=not region.readonly,
            )

    def region_removed(self, region: MemoryRegion) -> None:
        if region.kind == DEVICE:
            return
        try:
            self._space.unmap(region.gpa, region.size)
        except DeviceGone:
            return
        except VfioError as error:
            self._notice(str(error))
