# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A stock kernel with the modules that Debian leaves out in the place of its own."""

from __future__ import annotations

import lzma
import os
import re
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.debian.apt import Apt, unpack
from pyvmm.debian.modules import Module, ModuleSet, module_name
from pyvmm.debian.process_group import process_group

from .errors import LabError
from .kernels import publish
from .module_build import FEATURES, SOURCES, rebuild

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernel_packages import Package
    from pyvmm.debian.kernels import Kernel
    from pyvmm.debian.progress import Progress

    from .kernels import LabKernel

REBUILT_KERNELS = frozenset({"6.12", "newest"})
"""Kernels that are new enough to have iommufd."""

# What the kernel's build tools are linked with, by release: names differ for 64-bit time_t.
_TOOLS_LIBRARIES = ("libc6", "libelf1t64", "libssl3t64", "libzstd1", "zlib1g")
_CHUNK = 1 << 20


def rebuilt_name(name: str) -> str:
    """What the cache calls the rebuilt variant of a kernel."""
    return f"{name}-rebuilt"


def rebuild_kernel(
    cache: Cache, kernel: Kernel, stock: LabKernel, package: Package, progress: Progress
) -> LabKernel:
    """Fetch what the modules are built from, build and merge them; hold the cache's lock.

    stock is what the lab has of kernel, which is package's. Raises LabError, DebianError.
    """
    with (
        cache.staging() as headers,
        cache.staging() as sources,
        cache.staging() as libraries,
        cache.staging() as scratch,
    ):
        _fetch_headers(package, headers, progress)
        _fetch_sources(cache, package, sources, progress)

        def libc() -> Path:
            apt = Apt(cache, [package.apt.suites[0].removesuffix("-backports")])
            unpack(apt.download(_TOOLS_LIBRARIES, libraries, progress), libraries)
            return libraries

        built = rebuild(headers, sources, scratch / "work", libc=libc, progress=progress)
        modules = merged(stock.modules, built)
        features = stock.features | FEATURES
        return publish(cache, rebuilt_name(kernel.name), kernel, modules, features)


def merged(stock: Path, built: list[Path]) -> list[Module]:
    """The modules of a tree, with those built instead of those of their names."""
    names = {module_name(path) for path in built}
    modules = [module for module in ModuleSet(stock) if module.name not in names]
    return modules + [
        Module(module_name(path), f"updates/{path.name}", path.read_bytes()) for path in built
    ]


def _fetch_headers(package: Package, into: Path, progress: Progress) -> None:
    meta = f"linux-headers-{package.release}"
    depends = package.apt.show(meta, progress).get("depends", "")
    parts = re.findall(r"linux-headers-[^\s,]+-common|linux-kbuild-[^\s,]+", depends)
    versions = [f"{part}={package.version}" for part in [meta, *parts]]
    unpack(package.apt.download(versions, into, progress), into)


def _fetch_sources(cache: Cache, package: Package, into: Path, progress: Progress) -> None:
    series = ".".join(package.release.split(".")[:2])
    name = f"linux-source-{series}"
    with cache.staging() as whole:
        debs = package.apt.download([f"{name}={package.version}"], whole, progress)
        progress(f"unpacking {name}")
        unpack(debs, whole)
        archive = whole / "usr/src" / f"{name}.tar.xz"
        _extract(archive, [f"{name}/{part}" for part in SOURCES], into)


def _extract(archive: Path, members: list[str], into: Path) -> None:
    """Members of a .tar.xz, less its top folder. Where dpkg is there is tar, but maybe no xz."""
    with tempfile.TemporaryFile("w+") as errors, process_group() as group:
        tar = subprocess.Popen(
            ["tar", "--extract", "--directory", into, "--strip-components=1", *members],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.PIPE,
            stderr=errors,
            process_group=group,
        )
        failure = ""
        try:
            assert tar.stdin is not None
            with suppress(BrokenPipeError), lzma.open(archive) as contents, tar.stdin as pipe:
                while chunk := contents.read(_CHUNK):
                    pipe.write(chunk)
        except (EOFError, lzma.LZMAError) as error:
            failure = str(error)
        except BaseException:
            tar.kill()
            raise
        finally:
            tar.wait()
        if tar.returncode or failure:
            errors.seek(0)
            raise LabError(
                f"unpacking {archive.name}: {failure or errors.read().strip()[:300]}",
                "try again; without room, make some, or set XDG_CACHE_HOME to where there is",
            )
