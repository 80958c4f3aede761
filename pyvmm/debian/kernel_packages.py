# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels from its archive: looked up, fetched, unpacked, and uncompressed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .apt import Apt, unpack
from .cache import place_name
from .errors import DebianError, NoSuchPackage
from .kernels import find_kernel
from .names import KERNEL_FOLDER, KERNELS
from .vmlinux import extract_vmlinux

if TYPE_CHECKING:
    from .cache import Cache
    from .kernels import Kernel
    from .progress import Progress


class Package(NamedTuple):
    """Where a kernel is: its suite, the release it calls itself, and the packages' version."""

    apt: Apt
    release: str
    version: str


def look_up_kernel(cache: Cache, name: str, progress: Progress) -> Package:
    """The newest there is of a kernel; hold the cache's lock. Raises DebianError."""
    meta_package, suites = KERNELS[name]
    failures = []
    for suite in suites:
        try:
            apt = Apt(cache, [suite])
            depends = apt.show(meta_package, progress).get("depends", "")
            found = re.search(r"linux-image-(\d[^\s,]+)", depends)
            if found is None:
                raise NoSuchPackage(f"{meta_package} of {suite} depends on no kernel")
            version = apt.show(f"linux-image-{found[1]}", progress)["version"]
            return Package(apt, found[1], version)
        except NoSuchPackage as failure:  # suites end; the next one has it too
            failures.append(failure)
    raise failures[-1]


def fetch_kernel(cache: Cache, name: str, package: Package, progress: Progress) -> Kernel:
    """Fetch and unpack a kernel, or keep what is there; hold the cache's lock.

    Raises DebianError.
    """
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
        unpack(fetched, whole)
        _lay_out(whole, release, staged, progress)
        cache.publish(staged, KERNEL_FOLDER, name, version)
    kernel = find_kernel(cache, name)
    assert kernel is not None
    return kernel


def _lay_out(whole: Path, release: str, into: Path, progress: Progress) -> None:
    """Put the parts of a kernel's unpacked packages where a Kernel has them."""
    tree = _module_folder(whole, release)
    # Newer packages keep the kernel's image and its configuration among the modules.
    image = _existing(whole / "boot" / f"vmlinuz-{release}", tree / "vmlinuz")
    shutil.move(_existing(whole / "boot" / f"config-{release}", tree / "config"), into / "config")
    progress(f"uncompressing the kernel {release}")
    (into / "vmlinux").write_bytes(extract_vmlinux(image.read_bytes(), image.name))
    shutil.move(image, into / "vmlinuz")
    (into / "release").write_text(f"{release}\n")
    shutil.move(tree, into / "modules")


def _module_folder(whole: Path, release: str) -> Path:
    places = (whole / top / "modules" / release for top in ("usr/lib", "lib"))
    return _existing(*(place / "kernel" for place in places)).parent


def _existing(*places: Path) -> Path:
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise DebianError(
            f"a kernel's packages have no {places[0].name}, neither in {places[0].parent.name} "
            f"nor in {places[1].parent.name}",
            "choose another kernel",
        )
    return found
