# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Having the kernel load vfio-pci, where it isn't there yet."""

from __future__ import annotations

import os

from ..errors import HostDeviceUnavailable
from . import sysfs

VFIO_DRIVER = "vfio-pci"
_DRIVERS = "sys/bus/pci/drivers"


def driver_path(driver: str, *, root: str) -> str:
    """Where sysfs has a PCI driver, if it is loaded."""
    return os.path.join(root, _DRIVERS, driver)


def can_be_loaded(module: str, *, root: str) -> bool:
    """Whether modprobe would find a module for the kernel that runs, or has it built in."""
    tree = os.path.join(root, "lib/modules", os.uname().release)
    for index in ("modules.dep", "modules.builtin"):
        for line in (sysfs.read_text(os.path.join(tree, index)) or "").splitlines():
            if os.path.basename(line.partition(":")[0]).partition(".ko")[0] == module:
                return True
    return False


def require_vfio_pci(*, root: str) -> None:
    """Load vfio-pci if it isn't loaded. Raises HostDeviceUnavailable."""
    path = driver_path(VFIO_DRIVER, root=root)
    if os.path.isdir(path):
        return
    said = _modprobe(VFIO_DRIVER)
    if not os.path.isdir(path):
        release = os.uname().release
        raise HostDeviceUnavailable(
            f"the kernel has no driver {VFIO_DRIVER}: modprobe {VFIO_DRIVER}: "
            f"{said or 'no effect'}",
            f"as root, and with the modules of kernel {release}, it can be loaded",
        )


def _modprobe(module: str) -> str:
    """Load a module; returns what modprobe had to complain of."""
    import subprocess

    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    try:
        done = subprocess.run(
            ["modprobe", module],
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return str(error.strerror)
    return done.stderr.strip().replace("\n", "; ")
