# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels for the lab: fetched, uncompressed, and with the modules that matter in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .apt import Apt, unpack
from .errors import LabError, NoSuchPackage
from .modules import ModuleSet, write_tree
from .vmlinux import extract_vmlinux

if TYPE_CHECKING:
    from .cache import Cache, Progress

META_PACKAGE = "linux-image-amd64"

# The suites that have a kernel, the one that costs least first.
KERNELS = {
    "6.1": ("bookworm",),
    "6.12": ("bookworm-backports", "trixie"),
    "newest": ("trixie-backports", "sid"),
}

# Without these the lab's init can't do its work. They are in the initramfs.
BOOT_MODULES = ("9pnet_virtio", "9p", "overlay", "kvm_amd", "vfio_iommu_type1", "vfio_pci")
BOOT_MODULES_IF_THERE = ("iommufd", "virtio_console", "virtio_iommu")
# The rest of what a lab's user may want to load.
OTHER_MODULES = (
    *("nvme", "e1000", "e1000e", "igb", "igbvf", "virtio_net", "virtio_blk", "virtio_scsi"),
    *("virtio_rng", "virtio_balloon", "ahci", "sd_mod", "edac_core", "xhci_pci", "pci_stub"),
    *("tun", "tap", "veth", "bridge", "vhost_net", "vhost_vsock", "macvtap", "uio_pci_generic"),
    *("ext4", "vfat", "nls_ascii", "nls_cp437", "squashfs", "loop", "fuse", "virtiofs"),
    *("mdev", "mlx5_vfio_pci", "virtio_vfio_pci", "intel_rapl_msr", "msr", "i6300esb"),
)

_FEATURES = {
    "CONFIG_IOMMUFD": "iommufd",
    "CONFIG_VFIO_DEVICE_CDEV": "cdev",
    "CONFIG_VFIO_NOIOMMU": "noiommu",
}


class Kernel(NamedTuple):
    """A kernel in the cache. modules is what is to be seen as /lib/modules/RELEASE."""

    name: str
    release: str
    folder: Path
    features: frozenset[str]

    @property
    def vmlinux(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"


def find_kernel(cache: Cache, name: str) -> Kernel | None:
    """The kernel if it is in the cache. Raises LabError for a name that isn't known."""
    _check_known(name)
    folder = cache.find("kernels", name)
    if folder is None:
        return None
    release = (folder / "release").read_text().strip()
    return Kernel(name, release, folder, config_features((folder / "config").read_text()))


def fetch_kernel(cache: Cache, name: str, progress: Progress) -> Kernel:
    """Fetch and prepare the newest version of a kernel; hold the cache's lock. Raises LabError."""
    _check_known(name)
    apt, release, version = _look_up(cache, name, progress)
    with cache.staging() as staged, cache.staging() as whole:
        package = f"linux-image-{release}={version}"
        debs = apt.download([package], staged, progress)
        progress(f"unpacking the kernel {release}")
        unpack(debs, whole, cache)
        _prepare(whole, release, staged, progress)
        cache.publish(staged, "kernels", name, version)
    kernel = find_kernel(cache, name)
    assert kernel is not None
    return kernel


def config_features(config: str) -> frozenset[str]:
    """What of VFIO that not every kernel has is switched on in a kernel's configuration."""
    switched_on = re.findall(r"^(CONFIG_\w+)=[ym]$", config, re.M)
    return frozenset(_FEATURES[option] for option in switched_on if option in _FEATURES)


def _check_known(name: str) -> None:
    if name not in KERNELS:
        raise LabError(f"there is no kernel {name} for the lab", f"choose {', '.join(KERNELS)}")


def _look_up(cache: Cache, name: str, progress: Progress) -> tuple[Apt, str, str]:
    """Where the kernel is, its release and the package's version."""
    failures = []
    for suite in KERNELS[name]:
        try:
            apt = Apt(cache, [suite])
            depends = apt.show(META_PACKAGE, progress).get("depends", "")
            found = re.search(r"linux-image-(\d\S+)", depends)
            if found is None:
                raise NoSuchPackage(f"{META_PACKAGE} of {suite} depends on no kernel")
            version = apt.show(f"linux-image-{found[1]}", progress)["version"]
            return apt, found[1], version
        except NoSuchPackage as failure:  # suites end; the next one has it too
            failures.append(failure)
    raise failures[-1]


def _prepare(whole: Path, release: str, into: Path, progress: Progress) -> None:
    """Put the parts of an unpacked kernel package that the lab uses into a folder."""
    boot = whole / "boot"
    image = boot / f"vmlinuz-{release}"
    tree = _module_folder(whole, release)
    if tree is None or not image.exists():
        raise LabError(
            f"the package of the kernel {release} has no image or no modules where they should be"
        )
    progress(f"uncompressing the kernel {release}")
    (into / "vmlinux").write_bytes(extract_vmlinux(image.read_bytes(), image.name))
    os.rename(boot / f"config-{release}", into / "config")
    (into / "release").write_text(f"{release}\n")
    modules = ModuleSet(tree)
    wanted = modules.closure(BOOT_MODULES, optional=BOOT_MODULES_IF_THERE + OTHER_MODULES)
    write_tree(wanted, into / "modules")
    for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (tree / index).exists():
            os.rename(tree / index, into / "modules" / index)


def _module_folder(whole: Path, release: str) -> Path | None:
    places = (whole / top / "modules" / release for top in ("usr/lib", "lib"))
    return next((place for place in places if (place / "kernel").is_dir()), None)
