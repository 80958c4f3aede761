# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vfio-pci, the driver that devices are given to."""

from __future__ import annotations

import os

from pyvmm.vfio.host.modules import VFIO_DRIVER, can_be_loaded, driver_path

from .._finding import Finding


def check(root: str) -> Finding:
    """Whether it is loaded, or can be."""
    if os.path.isdir(driver_path(VFIO_DRIVER, root=root)):
        return Finding(VFIO_DRIVER, True, "loaded")
    if can_be_loaded(VFIO_DRIVER, root=root):
        return Finding(VFIO_DRIVER, True, "not loaded; `pyvmm bind` does it")
    release = os.uname().release
    text = f"kernel {release} has no such module in /lib/modules"
    cure = "install the kernel's package of modules, or take a kernel with CONFIG_VFIO_PCI"
    return Finding(VFIO_DRIVER, False, text, cure)
