# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A kernel's packages, as small as they can be, and a mirror that has them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.lab.kernels import BOOT_MODULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.debian.progress import Progress

RELEASE = "6.99+deb99-amd64"
VMLINUX = b"\x7fELF a kernel"
DEPENDS = {
    "9pnet_virtio": "9pnet",
    "vfio_pci": "vfio-pci-core",
    "vfio_iommu_type1": "vfio",
    "nvme": "nvme-core",
}
BUILT_IN = "virtio_console"


def silent(_: str) -> None:
    pass


def module(depends: str = "", text: str = "stock") -> bytes:
    return f"{text}\0depends={depends}\0".encode()


def bzimage() -> bytes:
    payload = gzip.compress(VMLINUX, mtime=0)
    setup = bytearray(1024)
    setup[0x1F1], setup[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x20F)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))
    return bytes(setup) + payload


def write_kernel(into: Path, release: str, *, new_layout: bool) -> None:
    """What the packages of a kernel have in them."""
    tree = into / ("usr/lib" if new_layout else "lib") / "modules" / release
    names = {*BOOT_MODULES, *DEPENDS, *DEPENDS.values()} - {BUILT_IN}
    for name in names:
        path = tree / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(DEPENDS.get(name, "")))
    (tree / "modules.builtin").write_text(f"kernel/{BUILT_IN}.ko\n")
    boot = tree if new_layout else into / "boot"
    boot.mkdir(exist_ok=True)
    ending = "" if new_layout else f"-{release}"
    (boot / f"vmlinuz{ending}").write_bytes(bzimage())
    (boot / f"config{ending}").write_text("CONFIG_VFIO_NOIOMMU=y\n# CONFIG_IOMMUFD is not set\n")


class MadeUpApt:
    """A mirror with one kernel, which comes in two packages."""

    def __init__(self) -> None:
        self.suites = ("made-up",)
        self.downloads: list[str] = []

    def show(self, package: str, progress: Progress) -> dict[str, str]:
        return {"depends": f"kmod, linux-modules-{RELEASE} (= 1), linux-base (>= 4)"}

    def download(self, packages: Sequence[str], into: Path, progress: Progress) -> list[Path]:
        self.downloads += packages
        return [into / "linux.deb"]
