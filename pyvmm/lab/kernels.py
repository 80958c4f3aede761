# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab's kernels: Debian's, with the modules that a lab may want in a tree for modprobe."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyvmm.debian.modules import ModuleSet, write_tree
from pyvmm.debian.names import GENERIC

from .errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernels import Kernel
    from pyvmm.debian.modules import Module
    from pyvmm.debian.progress import Progress

# Where they are in the cache. The number goes up when what is made of a kernel changes.
_FOLDER = "lab-kernels-1"

# Without these the lab's init can't do its work. They are in the initramfs.
BOOT_MODULES = (
    *("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"),
    *("kvm_amd", "vfio_iommu_type1", "vfio_pci"),
)
BOOT_MODULES_IF_THERE = ("iommufd", "virtio_iommu")
# The rest of what a lab's user may want to load.
OTHER_MODULES = (
    *("nvme", "e1000", "e1000e", "igb", "igbvf", "virtio_net", "virtio_blk", "virtio_scsi"),
    *("virtio_rng", "virtio_balloon", "ahci", "sd_mod", "xhci_pci", "pci_stub"),
    *("tun", "tap", "veth", "bridge", "vhost_net", "vhost_vsock", "macvtap", "uio_pci_generic"),
    *("ext4", "vfat", "nls_ascii", "nls_cp437", "squashfs", "loop", "fuse"),
    *("mdev", "msr", "i6300esb"),
)
WANTED_BY = "the lab"

_FEATURES = {
    "CONFIG_IOMMUFD": "iommufd",
    "CONFIG_VFIO_DEVICE_CDEV": "cdev",
    "CONFIG_VFIO_NOIOMMU": "noiommu",
}


class LabKernel(NamedTuple):
    """A kernel in the cache. modules is what is to be seen as /lib/modules/RELEASE."""

    name: str
    release: str
    folder: Path
    features: frozenset[str]

    @property
    def vmlinux(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"


def find_lab_kernel(cache: Cache, name: str) -> LabKernel | None:
    """The kernel, or its rebuilt variant, if it is in the cache."""
    folder = cache.find(_FOLDER, name)
    if folder is None:
        return None
    release = (folder / "release").read_text().strip()
    features = (folder / "features").read_text().split()
    return LabKernel(name, release, folder, frozenset(features))


def make_lab_kernel(cache: Cache, kernel: Kernel, progress: Progress) -> LabKernel:
    """What the lab needs of one of Debian's; hold the cache's lock. Raises DebianError."""
    progress(f"choosing the lab's modules of {kernel.release}")
    modules = ModuleSet(kernel.modules)
    wanted = modules.closure(
        BOOT_MODULES, wanted_by=WANTED_BY, optional=BOOT_MODULES_IF_THERE + OTHER_MODULES
    )
    features = config_features(kernel.config.read_text())
    return publish(cache, kernel.name, kernel, wanted, features)


def publish(
    cache: Cache, name: str, kernel: Kernel, modules: Iterable[Module], features: frozenset[str]
) -> LabKernel:
    """Put one of Debian's kernels into the cache as name, with other modules and features."""
    with cache.staging() as staged:
        write_tree(modules, staged / "modules")
        copy_indexes(kernel.modules, staged / "modules")
        os.link(kernel.vmlinux, staged / "vmlinux")
        (staged / "release").write_text(f"{kernel.release}\n")
        (staged / "features").write_text("".join(f"{name}\n" for name in sorted(features)))
        cache.publish(staged, _FOLDER, name, kernel.version)
    made = find_lab_kernel(cache, name)
    assert made is not None
    return made


def copy_indexes(tree: Path, into: Path) -> None:
    """What a module tree tells besides the modules' own .modinfo."""
    for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (tree / index).exists():
            shutil.copy(tree / index, into)


def check_known(name: str) -> None:
    """Raises LabError for the name of no kernel for the lab."""
    if name not in GENERIC:  # those for clouds have no 9p
        raise LabError(f"there is no kernel {name} for the lab", f"choose {', '.join(GENERIC)}")


def config_features(config: str) -> frozenset[str]:
    """What of VFIO that not every kernel has is switched on in a kernel's configuration."""
    switched_on = re.findall(r"^(CONFIG_\w+)=[ym]$", config, re.M)
    return frozenset(_FEATURES[option] for option in switched_on if option in _FEATURES)
