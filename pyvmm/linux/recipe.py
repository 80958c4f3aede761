# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Recipe: what an initramfs for a guest is made of, by which the cache has it."""

from __future__ import annotations

import hashlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache

INIT = os.path.join(os.path.dirname(__file__), "init.sh")

KIND, NAME, FILE = "guest-initramfs", "guest", "initramfs.cpio"
"""Where they are in the cache."""

# Goes up when the same parts are put together otherwise.
_FORMAT = 2


class Recipe:
    """kernel is the folder in the cache of the one whose modules they are; None without modules.

    modules are those to be loaded, in their order; what they depend on comes by itself. script is
    None where there is to be a shell.
    """

    __slots__ = ("kernel", "modules", "script")

    def __init__(self, kernel: str | None, modules: tuple[str, ...], script: bytes | None) -> None:
        self.kernel = kernel
        self.modules = modules
        self.script = script

    def find(self, cache: Cache, busybox: str) -> str | None:
        """The archive, with the busybox that the cache has in this folder, if it is there."""
        folder = cache.locate(KIND, NAME, self.version(busybox))
        return None if folder is None else os.path.join(folder, FILE)

    def version(self, busybox: str) -> str:
        """Stands for all that goes in. What the cache has in a folder never changes."""
        kernel = self.kernel and os.path.relpath(self.kernel, busybox)
        parts = (_FORMAT, kernel, self.modules, os.path.basename(busybox), self.script)
        with open(INIT, "rb") as init:
            return hashlib.sha256(repr(parts).encode() + init.read()).hexdigest()[:24]
