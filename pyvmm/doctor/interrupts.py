# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupt remapping, without which a device can forge any interrupt of the host.

VFIO gives out no device then, unless it was told to. Nothing in sysfs says whether interrupts are
remapped, but the names of interrupt controllers do: "IR-PCI-MSIX" (proc_interrupts(5)).
"""

from __future__ import annotations

import os

from pyvmm.vfio.host import iommus, sysfs
from pyvmm.vfio.kernel.permission import IOMMUFD, REMAP_INTERRUPTS, TYPE1

from .._finding import Finding

_SUBJECT = "interrupts"
_FIRMWARE = "enable remapping in the firmware's set-up"


def check(root: str) -> Finding:
    """Whether they are remapped, or VFIO was told to go without that."""
    remapped = _remapped(root)
    if remapped:
        return Finding(_SUBJECT, True, "remapped")
    if not iommus(root=root):
        return Finding(_SUBJECT, False, "not remapped: that is an IOMMU's work", needed=False)
    if remapped is None:
        text = "not known: /proc/interrupts is hidden here, as in a container"
        return Finding(_SUBJECT, False, text, "ask on the host itself", needed=False)
    module = _asking(root)
    if _unsafe(module, root) == "Y":
        text = f"not remapped: a device can forge any, which {module} accepts"
        return Finding(_SUBJECT, False, text, _FIRMWARE, needed=False)
    text = f"not remapped: a device could forge any, so {module} gives none out"
    return Finding(_SUBJECT, False, text, REMAP_INTERRUPTS.format(module))


def refuses_forgers(root: str) -> str | None:
    """The module that gives out no device of an IOMMU's for want of remapping; None if none does.

    Nor if that can't be told.
    """
    if _remapped(root) is not False or not iommus(root=root):
        return None
    module = _asking(root)
    return None if _unsafe(module, root) == "Y" else module


def _remapped(root: str) -> bool | None:
    """None if that is not known."""
    line = ""
    try:
        with open(os.path.join(root, "proc/interrupts"), errors="replace") as table:
            for line in table:  # which are many on large hosts, and the first ones will do
                if any(word.startswith("IR-") for word in line.split()):
                    return True
    except OSError:
        return None
    return False if line else None


def _asking(root: str) -> str:
    """The module by which a guest would be given a device: iommufd, where there is one."""
    return IOMMUFD if _unsafe(IOMMUFD, root) is not None else TYPE1


def _unsafe(module: str, root: str) -> str | None:
    """What its parameter says; None if the module isn't there."""
    parameter = f"sys/module/{module}/parameters/allow_unsafe_interrupts"
    return sysfs.read_text(os.path.join(root, parameter))
