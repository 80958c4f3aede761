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
    table = sysfs.read_text(os.path.join(root, "proc/interrupts")) or ""
    if any(word.startswith("IR-") for word in table.split()):
        return Finding(_SUBJECT, True, "remapped")
    if not iommus(root=root):
        return Finding(_SUBJECT, False, "not remapped: that is an IOMMU's work", needed=False)
    # The one by which a guest would be given a device: iommufd, where there is one.
    module = IOMMUFD if _unsafe(IOMMUFD, root) is not None else TYPE1
    if _unsafe(module, root) == "Y":
        text = f"not remapped: a device can forge any, which {module} accepts"
        return Finding(_SUBJECT, False, text, _FIRMWARE, needed=False)
    text = f"not remapped: a device could forge any, so {module} gives none out"
    return Finding(_SUBJECT, False, text, REMAP_INTERRUPTS.format(module))


def _unsafe(module: str, root: str) -> str | None:
    """What its parameter says; None if the module isn't there."""
    parameter = f"sys/module/{module}/parameters/allow_unsafe_interrupts"
    return sysfs.read_text(os.path.join(root, parameter))
