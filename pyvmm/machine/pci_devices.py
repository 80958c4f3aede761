# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Puts opened VFIO devices on a machine's PCI bus, within reach of its RAM."""

from __future__ import annotations

from pyvmm.pci.allocator import place
from pyvmm.pci.assigned import Assigned
from pyvmm.pci.errors import BusConflict

from .dma import DmaMapper
from .watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack

    from pyvmm.kvm import Vm
    from pyvmm.memory import AddressMap, GuestMemory
    from pyvmm.pci.allocator import Windows
    from pyvmm.pci.bus import Bus
    from pyvmm.vfio import Device


def plug(
    devices: Sequence[Device],
    slots: Sequence[int | None],
    *,
    bus: Bus,
    windows: Windows,
    vm: Vm,
    memory: GuestMemory,
    ports: AddressMap,
    mmio: AddressMap,
    notice: Callable[[str], None],
    parts: ExitStack,
) -> list[Assigned]:
    """Assign the devices to the guest; their functions on bus 0.

    A slot is device << 3 | function, or None for the lowest free device number. RAM is mapped
    for their DMA before the guest could let them master the bus. What has to be undone goes to
    parts. Raises PciError, VfioError, KvmError.
    """
    for space in {id(device.dma): device.dma for device in devices}.values():
        mapper = DmaMapper(space, notice)
        memory.add_observer(mapper)
        parts.callback(memory.remove_observer, mapper)
    watcher = Watcher()
    parts.callback(watcher.close)
    functions = [
        parts.enter_context(
            Assigned(
                device,
                memory=memory,
                mmio=mmio,
                ports=ports,
                vm=vm,
                watch=watcher.watch,
                report=notice,
                on_gone=lambda _: None,
            )
        )
        for device in devices
    ]
    free = _free_slots(bus, slots)
    chosen = [next(free) if slot is None else slot for slot in slots]
    # In order of their functions: software looks for function 0 first.
    for slot, function in sorted(zip(chosen, functions, strict=True), key=lambda pair: pair[0]):
        bus.add(function, device=slot >> 3, number=slot & 7)
    place(functions, windows)
    for function in functions:
        function.reset()
    return functions


def _free_slots(bus: Bus, slots: Sequence[int | None]) -> Iterator[int]:
    taken = {function.bdf >> 3 for function in bus.functions}
    taken |= {slot >> 3 for slot in slots if slot is not None}
    for device in range(1, 32):
        if device not in taken:
            yield device << 3
    raise BusConflict("bus 0 has no free device number left; use slots such as 03.1")
