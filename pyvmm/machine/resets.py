# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Resets all devices of a machine: before its guest boots, and when it boots again.

All at once, for devices of the host may share a bus, and some can be reset with that only. One
that can't be reset at all is no reason to refuse it: QEMU goes on, too. But it is told.
"""

from __future__ import annotations

from pyvmm.pci.errors import PciError
from pyvmm.vfio import DeviceGone, VfioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyvmm.vfio import Device

    from .plugged_device import PluggedDevice


def reset_devices(
    devices: Sequence[PluggedDevice], notice: Callable[[str], None]
) -> list[tuple[PluggedDevice, VfioError | PciError]]:
    """Reset the devices, while no vCPU runs. notice is told of those that can't be reset.

    Returns those that are lost, and why: they are gone, or don't answer any more. What is lost
    already is left alone.
    """
    lost: list[tuple[PluggedDevice, VfioError | PciError]] = []
    there = [device for device in devices if device.function.guard.gone is None]

    def each(step: Callable[[PluggedDevice], None]) -> None:
        for device in tuple(there):
            try:
                step(device)
            except (VfioError, PciError) as error:
                there.remove(device)
                lost.append((device, error))

    each(lambda device: device.function.prepare_reset())
    failures = _reset(there)

    def tell(device: PluggedDevice) -> None:
        error = failures.get(device.device)
        if isinstance(error, DeviceGone):
            device.function.lost(error)
            raise error
        if error is not None and not device.cannot_be_reset:
            device.cannot_be_reset = True
            notice(f"{error}; the guest finds it as it was left")

    each(tell)
    each(lambda device: device.function.finish_reset())
    return lost


def _reset(devices: Sequence[PluggedDevice]) -> dict[Device, VfioError]:
    """Reset what they stand for; what could not be, and why."""
    failures: dict[Device, VfioError] = {}
    of_host = [device.device for device in devices if device.device.kvm_file >= 0]
    for device in devices:
        if device.device not in of_host and device.device.info.resettable:
            try:
                device.device.reset()
            except VfioError as error:
                failures[device.device] = error
    if of_host:
        from pyvmm.vfio.kernel import KernelDevice, reset_all

        failures |= reset_all([device for device in of_host if isinstance(device, KernelDevice)])
    return failures
