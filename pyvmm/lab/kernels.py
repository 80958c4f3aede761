# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels for the lab: fetched, uncompressed, and with the modules that matter in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .apt import Apt, unpack
from .cache import place_name
from .errors import LabError, NoSuchPackage
from .modules import ModuleSet, write_tree
from .vmlinux import extract_vmlinux

if TYPE_CHECKING:
    from .cache import Cache, Progress

# Where they are in the cache. The number goes up when what pyvmm makes of a package changes.
KERNEL_FOLDER = "kernels-1"

META_PACKAGE = "linux-image-amd64"

# The suites that have a kernel, the one that costs least first.
KERNELS = {
    "6.1": ("bookworm",),
    "6.12": ("bookworm-backports", "trixie"),
    "newest": ("trixie-backports", "sid"),
}

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
    def version(self) -> str:
        """The version of Debian's package, as the folder's name has it."""
        return self.folder.name.removeprefix(f"{self.name}-")

    @property
    def vmlinux(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"


class Package(NamedTuple):
    """Where a kernel is: its suite, the release it calls itself, and the packages' version."""

    apt: Apt
    release: str
    version: str


def find_kernel(cache: Cache, name: str) -> Kernel | None:
    """The kernel if it is in the cache."""
    folder = cache.find(KERNEL_FOLDER, name)
    if folder is None:
        return None
    release = (folder / "release").read_text().strip()
    features = (folder / "features").read_text().split()
    return Kernel(name, release, folder, frozenset(features))


def look_up_kernel(cache: Cache, name: str, progress: Progress) -> Package:
    """The newest there is of a kernel; hold the cache's lock. Raises LabError."""
    failures = []
    for suite in KERNELS[name]:
        try:
            apt = Apt(cache, [suite])
            depends = apt.show(META_PACKAGE, progress).get("depends", "")
            found = re.search(r"linux-image-(\d[^\s,]+)", depends)
            if found is None:
                raise NoSuchPackage(f"{META_PACKAGE} of {suite} depends on no kernel")
            version = apt.show(f"linux-image-{found[1]}", progress)["version"]
            return Package(apt, found[1], version)
        except NoSuchPackage as failure:  # suites end; the next one has it too
            failures.append(failure)
    raise failures[-1]


def fetch_kernel(cache: Cache, name: str, package: Package, progress: Progress) -> Kernel:
    """Fetch and prepare a kernel, or keep what is there; hold the cache's lock. Raises LabError."""
    apt, release, version = package
    kernel = find_kernel(cache, name)
    if kernel is not None and kernel.version == place_name(version):
        return kernel
    depends = apt.show(f"linux-image-{release}", progress).get("depends", "")
    # Newer kernels come in parts: -base, -binary, -modules.
    parts = re.findall(rf"linux-[a-z]+-{re.escape(release)}", depends)
    names = [f"linux-image-{release}", *parts]
    with cache.staging() as staged, cache.staging() as whole, cache.staging() as debs:
        fetched = apt.download([f"{part}={version}" for part in names], debs, progress)
        progress(f"unpacking the kernel {release}")
        unpack(fetched, whole, cache)
        _prepare(whole, release, staged, progress)
        cache.publish(staged, KERNEL_FOLDER, name, version)
    kernel = find_kernel(cache, name)
    assert kernel is not None
    return kernel


def check_known(name: str) -> None:
    """Raises LabError for the name of no kernel."""
    if name not in KERNELS:
        raise LabError(f"there is no kernel {name} for the lab", f"choose {', '.join(KERNELS)}")


def config_features(config: str) -> frozenset[str]:
    """What of VFIO that not every kernel has is switched on in a kernel's configuration."""
    switched_on = re.findall(r"^(CONFIG_\w+)=[ym]$", config, re.M)
    return frozenset(_FEATURES[option] for option in switched_on if option in _FEATURES)


def _prepare(whole: Path, release: str, into: Path, progress: Progress) -> None:
    """Put the parts of an unpacked kernel package that the lab uses into a folder."""
    tree = _module_folder(whole, release)
    # Newer packages keep the kernel's image and its configuration among the modules.
    image = _existing(whole / "boot" / f"vmlinuz-{release}", tree / "vmlinuz")
    config = _existing(whole / "boot" / f"config-{release}", tree / "config").read_text()
    progress(f"uncompressing the kernel {release}")
    (into / "vmlinux").write_bytes(extract_vmlinux(image.read_bytes(), image.name))
    (into / "features").write_text("".join(f"{name}\n" for name in config_features(config)))
    (into / "release").write_text(f"{release}\n")
    modules = ModuleSet(tree)
    wanted = modules.closure(BOOT_MODULES, optional=BOOT_MODULES_IF_THERE + OTHER_MODULES)
    write_tree(wanted, into / "modules")
    copy_indexes(tree, into / "modules")


def copy_indexes(tree: Path, into: Path) -> None:
    """What a module tree tells besides the modules' own .modinfo."""
    for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (tree / index).exists():
            shutil.copy(tree / index, into)


def _module_folder(whole: Path, release: str) -> Path:
    places = (whole / top / "modules" / release for top in ("usr/lib", "lib"))
    return _existing(*(place / "kernel" for place in places)).parent


def _existing(*places: Path) -> Path:
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise LabError(
            f"a kernel's packages have no {places[0].name}, neither in {places[0].parent.name} "
            f"nor in {places[1].parent.name}",
            "choose another kernel",
        )
    return found
