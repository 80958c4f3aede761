# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The monitor's list of PCI devices: where each is, what of it is in use, what became of it."""

from __future__ import annotations

from pyvmm.pci.bus import Bridge, bdf_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyvmm.config import Device
    from pyvmm.pci.bars import Bar
    from pyvmm.pci.bus import Function

    from .machine import Machine
    from .plugged_device import PluggedDevice


def device_list(vm: Machine) -> Iterator[str]:
    """Lines, by PCI address; none before the machine is built."""
    plugged = {
        device.function.bdf: (device, config)
        for device, config in zip(vm.devices, vm.config.devices, strict=False)
    }
    for function in _functions(vm) if vm.is_built else ():
        line = f"{bdf_name(function.bdf)} {function.name}"
        if function.bdf not in plugged:
            yield line
            continue
        device, config = plugged[function.bdf]
        yield f"{line}, {_whose(config)}"
        if device.missing is not None:
            yield f"    lost: {device.missing}"
        else:
            yield from _details(device)


def _functions(vm: Machine) -> Iterator[Function]:
    """All of them; those behind a root port come after it."""
    for function in vm.bus.functions:
        yield function
        if isinstance(function, Bridge):
            yield from function.secondary.functions


def _whose(config: Device) -> str:
    if config.host is not None:
        return "a device of this host"
    if config.socket is not None:
        return "of another process"
    return "a model in a process of its own" if config.process else "a model in this process"


def _details(device: PluggedDevice) -> Iterator[str]:
    for bar in device.function.bars:
        yield f"    {bar}: {_bar(bar)}"
    yield f"    interrupts: {device.function.interrupts_in_use}"
    vain = ", in vain: there is no way to" if device.cannot_be_reset else ""
    yield f"    resets: {device.resets}{vain}"


def _bar(bar: Bar) -> str:
    at = bar.decoded()
    where = f"at {at:#x}" if at is not None else f"off, for {bar.address:#x}"
    return f"{bar.kind}, {_size(bar.size)} {where}"


def _size(size: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"
