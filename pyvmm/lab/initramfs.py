# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab's initramfs: busybox, the lab's init, and the modules it loads, in their order."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.debian import cpio
from pyvmm.debian.modules import ModuleSet

from .kernels import BOOT_MODULES, BOOT_MODULES_IF_THERE, WANTED_BY

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache
    from pyvmm.debian.progress import Progress

    from .kernels import LabKernel

INIT = Path(__file__).with_name("init.sh")
_FOLDERS = ("bin", "dev", "proc", "sys", "mods", "ro", "rw", "nr", "tmp", "run")


def find_initramfs(cache: Cache, kernel: LabKernel, busybox: Path) -> Path | None:
    """The initramfs for a kernel if it is in the cache and what it was made of is the same."""
    folder = cache.find("initramfs", kernel.name, _version(kernel, busybox))
    return None if folder is None else folder / "initramfs.cpio"


def make_initramfs(cache: Cache, kernel: LabKernel, busybox: Path, progress: Progress) -> Path:
    """Make it; hold the cache's lock. Raises DebianError."""
    progress(f"making the initramfs for {kernel.release}")
    modules = ModuleSet(kernel.modules).closure(
        BOOT_MODULES, wanted_by=WANTED_BY, optional=BOOT_MODULES_IF_THERE
    )
    order = "".join(f"{module.name}\n" for module in modules)
    entries = [
        *map(cpio.folder, _FOLDERS),
        cpio.file("bin/busybox", busybox.read_bytes(), 0o755),
        cpio.link("bin/sh", "busybox"),
        cpio.file("init", INIT.read_bytes(), 0o755),
        cpio.file("mods.list", order.encode()),
        *(cpio.file(f"mods/{module.name}.ko", module.image) for module in modules),
    ]
    with cache.staging() as staged:
        (staged / "initramfs.cpio").write_bytes(cpio.archive(entries))
        place = cache.publish(staged, "initramfs", kernel.name, _version(kernel, busybox))
    return place / "initramfs.cpio"


def _version(kernel: LabKernel, busybox: Path) -> str:
    """Stands for what goes in. A kernel's folder never changes; the host's busybox may."""
    status = busybox.stat()
    program = (str(busybox), status.st_size, status.st_mtime_ns)
    parts = (kernel.folder.parts[-2:], BOOT_MODULES, BOOT_MODULES_IF_THERE, _FOLDERS, program)
    digest = hashlib.sha256(repr(parts).encode() + INIT.read_bytes())
    return digest.hexdigest()[:16]
