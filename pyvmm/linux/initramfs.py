# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The initramfs that a config's initrd asks for: busybox, init.sh, modules, and the script.

The same parts make the same archive, byte for byte.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.debian import cpio
from pyvmm.debian.kernels import release_of
from pyvmm.debian.modules import BUILT_IN, ModuleSet, canonical, tree
from pyvmm.memory import layout

from .errors import UnusableBusybox
from .exit_program import exit_program
from .recipe import FILE, INIT, KIND, NAME

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.progress import Progress

    from .recipe import Recipe

# Seconds, in which a VM that was told of it opens it; then it has it, here or not. Scripts that are
# being written leave many.
_UNUSED = 24 * 3600.0
# By it a panic ends the VM at once, and as one. It comes first, as others may panic.
_PANIC_TELLER = "pvpanic_mmio"
_FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp")


def make_initramfs(cache: Cache, recipe: Recipe, busybox: Path, progress: Progress) -> str:
    """Make one with the busybox that the cache has in a folder; hold the cache's lock.

    Returns its path. Raises DebianError for a module that there isn't, and LinuxError.
    """
    progress("making the guest's initramfs")
    archive = cpio.archive(cpio.with_folders(_entries(recipe, busybox / "busybox")))
    with cache.staging() as staged:
        (staged / FILE).write_bytes(archive)
        version = recipe.version(str(busybox))
        return str(cache.publish(staged, KIND, NAME, version, unused=_UNUSED) / FILE)


def _entries(recipe: Recipe, busybox: Path) -> Iterator[cpio.Entry]:
    yield from map(cpio.folder, _FOLDERS)
    yield cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in _applets(busybox):
        yield cpio.link(f"bin/{applet}", "busybox")
    yield cpio.link("sbin", "bin")  # where the kernel looks for modprobe
    yield cpio.file("bin/exit-guest", exit_program(layout.DEBUG_EXIT_PORT), 0o755)
    yield cpio.file("init", Path(INIT).read_bytes(), 0o755)
    if recipe.script is not None:
        yield cpio.file("script", recipe.script)
    names = [*recipe.modules]
    if recipe.kernel is not None:
        names = yield from _modules(Path(recipe.kernel), names)
    yield cpio.file("etc/modules", "".join(f"{name}\n" for name in names).encode())


def _modules(kernel: Path, names: list[str]) -> Generator[cpio.Entry, None, list[str]]:
    """The files; returns the names of those that are to be loaded, which built-in ones aren't.

    What tells of a panic is among them, if the kernel has it as a module.
    """
    release, folder = release_of(kernel), kernel / "modules"
    modules = ModuleSet(folder)
    closure = modules.closure(names, wanted_by="the config's initrd", optional=[_PANIC_TELLER])
    files = tree(closure)
    files[BUILT_IN] = (folder / BUILT_IN).read_bytes()
    for path in sorted(files):
        yield cpio.file(f"lib/modules/{release}/{path}", files[path])
    names = [_PANIC_TELLER, *(name for name in names if canonical(name) != _PANIC_TELLER)]
    return [name for name in names if name in modules and canonical(name) not in modules.built_in]


def _applets(busybox: Path) -> list[str]:
    """The programs that a busybox is."""
    try:
        done = subprocess.run(
            [busybox, "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError as error:
        raise UnusableBusybox(f"running {busybox} --list: {error}") from None
    applets = sorted(set(done.stdout.split()) - {"busybox"})
    if done.returncode or not applets:
        raise UnusableBusybox(f"{busybox} --list: {done.stderr.strip() or 'it lists nothing'}")
    return applets
