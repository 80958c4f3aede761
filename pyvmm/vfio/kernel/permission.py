# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Why the kernel doesn't let us have a group: it says EPERM, and that has several causes.

A driver of the host's has a member; the firmware itself uses the group; somebody else has it; or
interrupts are not remapped, so that a device with DMA could forge any. type1 looks at the last
when a container gets its IOMMU, and iommufd when a device is bound, by its cdev or by its group.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from ..errors import HostDeviceUnavailable
from ..host import IommuGroup, holders, other_holders
from .opening import StillHeld

TYPE1, IOMMUFD = "vfio_iommu_type1", "iommufd"
"""The modules that ask for the remapping of interrupts, and have a parameter to do without."""

_SWITCH = "sys/module/{}/parameters/allow_unsafe_interrupts"

REMAP_INTERRUPTS = (
    "enable the remapping of interrupts in the firmware's set-up (VT-d, AMD-Vi; x2APIC), or, if "
    f"you trust device and guest: `echo 1 | sudo tee /{_SWITCH}`"
)
"""What to do, with the module's name to be filled in; it makes sense without the cause."""


def forbidden(
    group: IommuGroup, cause: str, module: str, *, opened: str | None = None
) -> HostDeviceUnavailable:
    """The error for a call that failed with EPERM, as cause tells; why it did is found out.

    opened is the cdev that we have open ourselves for it, if that is how.
    """
    known = group.why_not_viable() or group.why_the_firmware_keeps_it()
    if known:
        return known
    held = _held(group, (group.device_path, opened))
    if held:
        return StillHeld(
            f"group {group.number} is in use: {held}",
            "end that first: the devices of a group have one user, and one container or iommufd",
        )
    # A process that was killed has no files any more that one could see, and lets them go last.
    unknown = HostDeviceUnavailable if module == TYPE1 else StillHeld
    another = f"another user has a device of group {group.number}"
    if _accepted(group.root, module):
        return unknown(cause, another)
    not_remapped = (
        "interrupts of this host are not remapped, so that a device could forge them: "
        + REMAP_INTERRUPTS.format(module)
    )
    if os.geteuid() == 0:  # who would have seen another user
        return unknown(cause, not_remapped)
    return unknown(cause, f"{another}, or {not_remapped}")


def _held(group: IommuGroup, ours: Collection[str | None]) -> str:
    """Which processes have the group's devices open, apart from what is ours; "" if we see none."""
    cdevs = (function.vfio_cdev for function in group.functions)
    for path in (group.device_path, *filter(None, cdevs)):
        found = (other_holders if path in ours else holders)(path, root=group.root)
        if found:
            return f"{path} is open in {', '.join(map(str, found))}"
    return ""


def _accepted(root: str, module: str) -> bool:
    """Whether the host's administrator does without the remapping of interrupts."""
    try:
        with open(os.path.join(root, _SWITCH.format(module))) as file:
            return file.read(1) == "Y"
    except OSError:
        return False
