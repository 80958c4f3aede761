# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a lab is started from, fetched and made as far as it isn't there yet: `prepare()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyvmm.debian.busybox import fetch_busybox, find_busybox
from pyvmm.debian.cache import Cache
from pyvmm.debian.kernel_packages import fetch_kernel, look_up_kernel
from pyvmm.debian.kernels import find_kernel

from .defaults import DEFAULT_IOMMU, DEFAULT_KERNEL
from .devices import parse
from .emulator import Emulator, fetch_emulator, find_emulator
from .errors import of_the_lab
from .findings import check
from .host import check_host
from .initramfs import find_initramfs, make_initramfs
from .kernels import LabKernel, check_known, find_lab_kernel, make_lab_kernel
from .module_build import missing_tools
from .rebuilt_kernel import REBUILT_KERNELS, rebuild_kernel, rebuilt_name
from .requirements import check_kernel, check_qemu, oldest_qemu

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Assets", "check", "prepare"]


class Assets(NamedTuple):
    """What there is to start a lab from. All paths are in the cache, and stay as they are."""

    qemu: Emulator
    vmlinux: Path
    initramfs: Path
    kernel_release: str
    modules: Path
    """A module tree for modprobe: what is to be seen as /lib/modules/RELEASE."""
    busybox: Path
    features: frozenset[str]
    """What not every kernel has: "iommufd", "cdev", "noiommu", "mtty"."""


@of_the_lab()
def prepare(
    kernel: str = DEFAULT_KERNEL,
    *,
    devices: str = "",
    iommu: str = DEFAULT_IOMMU,
    qemu: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
    refresh: bool = False,
    rebuild: bool | None = None,
) -> Assets:
    """Fetch and make what is missing; takes no time, lock or network if nothing is.

    kernel is a key of KERNELS; qemu a key of EMULATORS, "host", or a command: by default
    $PYVMM_QEMU, or the host's if it has the devices and the IOMMU, or one that is unpacked.
    progress is called with a line each time something else is done, or more of it. With refresh,
    what Debian has newer is fetched. rebuild asks for the kernel with iommufd, device cdev and
    no-iommu: by default it is had where it can be. Raises LabError.
    """
    check_host()
    check_known(kernel)
    items = parse(devices)
    since = oldest_qemu(items, iommu)
    if rebuild is None:
        rebuild = kernel in REBUILT_KERNELS and not missing_tools()
    cache = Cache()
    found = None if refresh else _find(cache, kernel, rebuild, qemu, since)
    if found is None:
        with cache.locked(progress):
            found = _make(cache, kernel, rebuild, qemu, since, refresh, progress)
    check_qemu(items, iommu, found.qemu.version)
    check_kernel(items, iommu, found.features)
    return found


def _find(
    cache: Cache, name: str, rebuild: bool, qemu: str | None, since: tuple[int, int]
) -> Assets | None:
    kernel = _kernel(cache, name, rebuild)
    busybox = find_busybox(cache)
    if kernel is None or busybox is None:
        return None
    initramfs = find_initramfs(cache, kernel, busybox)
    if initramfs is None:
        return None
    emulator = find_emulator(cache, qemu, since)
    if emulator is None:
        return None
    return _assets(emulator, kernel, initramfs, busybox)


def _make(
    cache: Cache,
    name: str,
    rebuild: bool,
    qemu: str | None,
    since: tuple[int, int],
    refresh: bool,
    progress: Callable[[str], None],
) -> Assets:
    # What is there is looked for again: another process may have made it while we waited.
    emulator = find_emulator(cache, qemu, since)
    if emulator is None or (refresh and emulator.unpacked):
        emulator = fetch_emulator(cache, qemu, progress, since)
    kernel = None if refresh else _kernel(cache, name, rebuild)
    if kernel is None:
        kernel = _make_kernel(cache, name, rebuild, refresh, progress)
    busybox = find_busybox(cache) or fetch_busybox(cache, progress)
    initramfs = find_initramfs(cache, kernel, busybox) or make_initramfs(
        cache, kernel, busybox, progress
    )
    return _assets(emulator, kernel, initramfs, busybox)


def _kernel(cache: Cache, name: str, rebuild: bool) -> LabKernel | None:
    return find_lab_kernel(cache, rebuilt_name(name) if rebuild else name)


def _make_kernel(
    cache: Cache, name: str, rebuild: bool, refresh: bool, progress: Callable[[str], None]
) -> LabKernel:
    debians = None if refresh or rebuild else find_kernel(cache, name)
    if debians is not None:  # some VM's; modules are rebuilt for the newest one, which is looked up
        return make_lab_kernel(cache, debians, progress)
    package = look_up_kernel(cache, name, progress)
    debians = fetch_kernel(cache, name, package, progress)
    kernel = make_lab_kernel(cache, debians, progress)
    if rebuild:
        kernel = rebuild_kernel(cache, debians, kernel, package, progress)
    return kernel


def _assets(emulator: Emulator, kernel: LabKernel, initramfs: Path, busybox: Path) -> Assets:
    return Assets(
        qemu=emulator,
        vmlinux=kernel.vmlinux,
        initramfs=initramfs,
        kernel_release=kernel.release,
        modules=kernel.modules,
        busybox=busybox,
        features=kernel.features,
    )
