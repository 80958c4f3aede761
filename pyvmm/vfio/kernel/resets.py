# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset_all(): resets the devices that one user has, each as well as it can be.

For a function alone the kernel tries what sysfs's reset_method lists, in that order: what is
made for the device, ACPI's, a function level reset (flr, af_flr); pm, D3hot and back, after
which many a device is as it was; bus, if nothing else is on it. VFIO_DEVICE_RESET is that, and is
offered if it worked when the device was opened. Where it isn't, or there is nothing before pm,
the bus or slot is reset with all that are on it (VFIO_DEVICE_PCI_HOT_RESET), if they are all ours.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from ..device import Device
from ..errors import DeviceError, DeviceGone, HostDeviceUnavailable, VfioError
from ..host.functions import HostFunction
from .device import KernelDevice
from .hot_reset import HotResetInfo

# The fd of each group that is ours; None where nothing but the device itself may be reset.
_Ours = Mapping[int, int] | None
_Way = Callable[[KernelDevice, _Ours], tuple[str, ...]]


class NotReset(VfioError):
    """A device is as it was, for each way to reset it failed."""


def reset_all(devices: Collection[KernelDevice]) -> dict[Device, VfioError]:
    """Reset these devices, all that their user has; nobody uses them meanwhile.

    Returns why some were not: NotReset, or DeviceGone for one that is no longer there.
    """
    fds = _group_fds(devices)
    failures: dict[Device, VfioError] = {}
    fresh: set[str] = set()
    # Those that have a reset of their own come last: one of the bus may have done.
    for device in sorted(devices, key=_has_its_own):
        if device.name not in fresh:
            try:
                fresh.update(_reset(device, fds))
            except (NotReset, DeviceGone) as error:
                failures[device] = error
    return {device: error for device, error in failures.items() if device.name not in fresh}


def reset_alone(device: KernelDevice) -> None:
    """Reset a device as well as it can be, and no other: by its bus, if it is alone there.

    Raises NotReset, DeviceGone.
    """
    _reset(device, None)


def _has_its_own(device: KernelDevice) -> bool:
    """Whether the best that there is for it is a reset of the function alone."""
    if not device.info.resettable:
        return False
    try:
        methods = HostFunction(device.name, root=device.root).reset_methods
    except HostDeviceUnavailable:  # unplugged: resetting it will tell
        return True
    return methods[:1] != ("pm",)


def _reset(device: KernelDevice, fds: _Ours) -> tuple[str, ...]:
    """Reset a device; the addresses of all that were reset with it. Raises NotReset, DeviceGone."""
    errors = []
    for way in _ways(device):
        try:
            return way(device, fds)
        except DeviceError as error:
            errors.append(error)
    # Each error begins with the device's address.
    reasons = "; ".join(str(error).removeprefix(f"{device.name}: ") for error in errors)
    raise NotReset(f"{device.name} can't be reset: {reasons}")


def _ways(device: KernelDevice) -> tuple[_Way, ...]:
    if not device.info.resettable:
        return (_with_its_bus,)
    return (_alone, _with_its_bus) if _has_its_own(device) else (_with_its_bus, _alone)


def _alone(device: KernelDevice, _fds: _Ours) -> tuple[str, ...]:
    device.reset()
    return (device.name,)


def _with_its_bus(device: KernelDevice, fds: _Ours) -> tuple[str, ...]:
    info = device.hot_reset_info()
    if fds is None:
        foreign = [function.bdf for function in info.devices if function.bdf != device.name]
        if foreign:
            raise DeviceError.answered(
                f"{device.name}: hot reset, which resets {', '.join(foreign)} too",
                errno.EPERM,
                "reset the whole VM, which resets all of its devices on that bus at once",
            )
        fds = _group_fds([device])
    foreign = _foreign(info, fds, device.root)
    if foreign:
        raise DeviceError.answered(
            f"{device.name}: hot reset, which resets {', '.join(foreign)} too",
            errno.EPERM,
            "bind all on its bus to vfio-pci, and assign those of other IOMMU groups with it",
        )
    device.hot_reset(() if info.by_devid else [fds[group] for group in sorted(info.groups)])
    return tuple(function.bdf for function in info.devices)


def _foreign(info: HotResetInfo, fds: Mapping[int, int], root: str) -> list[str]:
    """Those that a hot reset would reset, and that are not ours, or not VFIO's at all."""
    if info.by_devid:
        return [function.bdf for function in info.devices if function.devid is None]
    return [
        function.bdf
        for function in info.devices
        if function.group not in fds or not HostFunction(function.bdf, root=root).has_vfio_driver
    ]


def _group_fds(devices: Iterable[KernelDevice]) -> dict[int, int]:
    """By its number what proves that a group is ours. With iommufd nobody asks for it."""
    found = {}
    for device in devices:
        with suppress(HostDeviceUnavailable):  # it is just unplugged
            group = HostFunction(device.name, root=device.root).group
            if group is not None:
                found[group] = device.kvm_file
    return found
