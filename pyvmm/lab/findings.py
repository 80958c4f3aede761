# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is there for a lab and what is missing, without fetching anything: `check()`."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pyvmm.debian.apt import require_apt
from pyvmm.debian.busybox import find_busybox
from pyvmm.debian.cache import Cache
from pyvmm.debian.decompress import require_libraries
from pyvmm.debian.errors import DebianError
from pyvmm.debian.sources import find_mirror

from .._finding import Finding
from .defaults import DEFAULT_IOMMU, DEFAULT_KERNEL
from .devices import parse
from .emulator import find_emulator
from .errors import LabError
from .host import check_host
from .kernels import check_known, find_lab_kernel
from .module_build import missing_tools
from .rebuilt_kernel import REBUILT_KERNELS, rebuilt_name
from .requirements import check_qemu, oldest_qemu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .devices import Item

SETUP = "pyvmm lab setup"
"""The cure for what a lab fetches by itself"""
_ROOM = 1 << 30


def check(
    kernel: str = DEFAULT_KERNEL,
    *,
    devices: str = "",
    iommu: str = DEFAULT_IOMMU,
    qemu: str | None = None,
) -> list[Finding]:
    """Look at all that such a lab takes, said as to prepare(). Raises LabError for what can't be
    understood.
    """
    check_known(kernel)
    items = parse(devices)
    cache = Cache()
    findings = [
        _attempt("machine", check_host),
        _check_emulator(cache, items, iommu, qemu),
        _check_kernel(cache, kernel),
        _check_busybox(cache),
    ]
    # The rest is about what it takes to fetch these.
    needed = not all(finding.ok for finding in findings)
    return [
        *findings,
        _attempt("apt and dpkg", require_apt, needed=needed),
        _attempt("Debian mirror", _name_mirror, needed=needed),
        _attempt("zstd and LZ4", require_libraries, needed=needed),
        _check_room(cache.folder, needed=needed),
        _check_compiler(),
    ]


def _attempt(subject: str, look: Callable[[], str], *, needed: bool = True) -> Finding:
    try:
        return Finding(subject, True, look(), needed=needed)
    except (DebianError, LabError) as error:
        return Finding(subject, False, error.cause, error.cure, needed)


def _check_emulator(cache: Cache, items: Sequence[Item], iommu: str, qemu: str | None) -> Finding:
    try:
        emulator = find_emulator(cache, qemu, oldest_qemu(items, iommu))
        if emulator is not None:
            check_qemu(items, iommu, emulator.version)
    except LabError as error:
        return Finding("QEMU", False, error.cause, error.cure)
    if emulator is None:
        text = "no such one on this host, and none fetched yet"
        return Finding("QEMU", False, text, f"{SETUP}, with the same options")
    return Finding("QEMU", True, str(emulator))


def _check_kernel(cache: Cache, name: str) -> Finding:
    subject = f"kernel {name}"
    rebuilt = find_lab_kernel(cache, rebuilt_name(name))
    kernel = rebuilt or find_lab_kernel(cache, name)
    cure = f"{SETUP} --kernel {name}"
    if kernel is None:
        return Finding(subject, False, "not fetched yet", cure)
    if rebuilt is None and name in REBUILT_KERNELS:
        text = f"{kernel.release} has no iommufd, device cdev and no-iommu yet"
        return Finding(subject, False, text, f"with gcc and make here: {cure}", needed=False)
    features = ", ".join(sorted(kernel.features))
    return Finding(subject, True, f"{kernel.release}{features and ' with '}{features}")


def _check_busybox(cache: Cache) -> Finding:
    busybox = find_busybox(cache)
    if busybox is None:
        text = "there is no static one on this host, and none was fetched yet"
        return Finding("busybox", False, text, SETUP)
    return Finding("busybox", True, str(busybox))


def _name_mirror() -> str:
    """That there is one; which one is nobody's business."""
    find_mirror()
    return "found in the system's apt sources"


def _check_room(folder: Path, *, needed: bool) -> Finding:
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        cure = "set XDG_CACHE_HOME to a folder that you can write"
        return Finding("cache folder", False, f"{folder} can't be written", cure, needed)
    free = shutil.disk_usage(folder).free
    text = f"{free / _ROOM:.1f} GiB are free in {folder}"
    cure = "the lab takes about 1 GiB: make room, or set XDG_CACHE_HOME to where there is"
    return Finding("cache folder", free >= _ROOM, text, "" if free >= _ROOM else cure, needed)


def _check_compiler() -> Finding:
    missing = missing_tools()
    if not missing:
        return Finding("compiler", True, "can build iommufd modules", needed=False)
    text = f"no {', '.join(missing)}: kernels stay without iommufd, device cdev and no-iommu"
    return Finding("compiler", False, text, "apt install build-essential", needed=False)
