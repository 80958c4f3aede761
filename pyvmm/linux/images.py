# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""prepare(): the files that a config's kernel and initrd stand for, wherever they come from.

What is in the cache is found without what fetches and makes it: each start of a VM goes this way.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from pyvmm.debian.cache import Cache
from pyvmm.debian.names import BUSYBOX, KERNEL_FOLDER, is_debians, parse

from .recipe import Recipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.config import VmConfig
    from pyvmm.debian.progress import Progress

# Bytes. No script is as long; what is was named by mistake.
_MAX_SCRIPT = 1 << 20


def prepare(config: VmConfig, progress: Progress = lambda _: None) -> tuple[str, str | None]:
    """The paths of the kernel and of the initrd, if there is one. Those in the cache stay there.

    What is missing is fetched and made; it takes no time, lock or network if nothing is. config
    has a kernel. progress is called with a line each time something else is done, or more of it.
    Raises DebianError, LinuxError.
    """
    assert config.kernel is not None
    cache = Cache()
    kernel, initrd, folder = config.kernel, config.initrd, None
    # Before anything is fetched for it in vain.
    script = _read(initrd.script) if initrd is not None and initrd.script is not None else None
    if is_debians(kernel):
        name, compressed = parse(kernel)
        folder = cache.locate(KERNEL_FOLDER, name) or _fetch_kernel(cache, name, progress)
        kernel = f"{folder}/{'vmlinuz' if compressed else 'vmlinux'}"
    if initrd is None or initrd.file is not None:
        return kernel, None if initrd is None else initrd.file
    recipe = Recipe(folder, initrd.modules, script)
    return kernel, _find_initramfs(cache, recipe) or _make_initramfs(cache, recipe, progress)


def _find_initramfs(cache: Cache, recipe: Recipe) -> str | None:
    busybox = cache.locate(BUSYBOX, BUSYBOX)
    return None if busybox is None else recipe.find(cache, busybox)


def _fetch_kernel(cache: Cache, name: str, progress: Progress) -> str:
    from pyvmm.debian.kernel_packages import fetch_kernel, look_up_kernel

    with cache.locked(progress):
        # Another process may have fetched it while we waited.
        found = cache.locate(KERNEL_FOLDER, name)
        if found is None:
            package = look_up_kernel(cache, name, progress)
            found = str(fetch_kernel(cache, name, package, progress).folder)
    return found


def _make_initramfs(cache: Cache, recipe: Recipe, progress: Progress) -> str:
    from pyvmm.debian.busybox import fetch_busybox

    from .initramfs import make_initramfs

    with cache.locked(progress):
        busybox = cache.find(BUSYBOX, BUSYBOX) or fetch_busybox(cache, progress).parent
        found = recipe.find(cache, str(busybox))
        return found or make_initramfs(cache, recipe, busybox, progress)


def _read(path: str) -> bytes:
    """A script for the guest. Raises UnreadableScript."""
    cure = "check initrd.script (a relative path starts at the config's own folder)"
    try:
        # Not blocking: to open a FIFO would otherwise wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        from pyvmm.uapi.ioctl import failure

        doing = f"reading the guest's script {path}"
        raise _unreadable(failure(doing, "open", error.errno or 0, cure)) from None
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise _unreadable(f"the guest's script {path} is no regular file; {cure}")
        script = os.read(fd, _MAX_SCRIPT + 1)
    finally:
        os.close(fd)
    if len(script) > _MAX_SCRIPT or b"\0" in script:
        raise _unreadable(f"the guest's script {path} is no text for a shell; {cure}")
    return script


def _unreadable(text: str) -> Exception:
    from .errors import UnreadableScript

    return UnreadableScript(text)
