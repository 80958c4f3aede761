# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels in the cache, each with all that its packages have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .names import KERNEL_FOLDER

if TYPE_CHECKING:
    from .cache import Cache


class Kernel(NamedTuple):
    """A kernel in the cache, with what its packages have."""

    name: str
    release: str
    """What it calls itself: `uname -r`."""
    folder: Path

    @property
    def version(self) -> str:
        """The version of Debian's package, as the folder's name has it."""
        return self.folder.name.removeprefix(f"{self.name}-")

    @property
    def vmlinux(self) -> Path:
        """The ELF file, with a PVH entry: what boots soonest."""
        return self.folder / "vmlinux"

    @property
    def vmlinuz(self) -> Path:
        """The bzImage that it was packed in."""
        return self.folder / "vmlinuz"

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / "config"

    @property
    def modules(self) -> Path:
        """All of its modules, as they lie below /lib/modules/RELEASE, perhaps compressed."""
        return self.folder / "modules"


def find_kernel(cache: Cache, name: str) -> Kernel | None:
    """The kernel, a key of KERNELS, if it is in the cache."""
    folder = cache.find(KERNEL_FOLDER, name)
    return None if folder is None else Kernel(name, release_of(folder), folder)


def release_of(folder: Path) -> str:
    """The release of the kernel that the cache has in a folder."""
    return (folder / "release").read_text().strip()
