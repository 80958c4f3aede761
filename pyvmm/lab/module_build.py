# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernel modules that Debian leaves out, built from its own source for its own kernels.

No Debian kernel has CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV or CONFIG_VFIO_NOIOMMU. They concern
modules only, so the stock kernel image stays, and these few are built against its headers with
the kernel's own Makefiles, as external modules with the options switched on: iommufd, all of vfio
that x86 has, and the sample driver mtty, a VFIO device with migration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pyvmm.debian.process_group import process_group

from .errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Progress = Callable[[str], None]

SOURCES = ("drivers/vfio", "drivers/iommu", "samples/vfio-mdev", "lib/interval_tree.c")
"""What of the kernel's source tree rebuild() needs."""

FEATURES = frozenset({"iommufd", "cdev", "noiommu", "mtty"})
"""What a kernel can do with the modules."""

# Each as make knows it, and as the preprocessor does.
_OPTIONS = {
    "CONFIG_IOMMUFD": "m",
    "CONFIG_IOMMUFD_DRIVER": "y",
    "CONFIG_IOMMUFD_DRIVER_CORE": "m",
    "CONFIG_IOMMUFD_NOIOMMU": "y",
    "CONFIG_INTERVAL_TREE_SPAN_ITER": "y",
    "CONFIG_VFIO_DEVICE_CDEV": "y",
    "CONFIG_VFIO_NOIOMMU": "y",
    "CONFIG_SAMPLE_VFIO_MDEV_MTTY": "m",
}
# To make only. Drivers that the stock kernel has built in can't be built in once more: what
# iommufd needs of these goes into its own module. The last is for compilers older than the one
# that built the kernel, which don't know the option that it switches on.
_MAKE_ONLY = {
    "CONFIG_IOMMUFD_DRIVER": "",
    "CONFIG_IOMMUFD_DRIVER_CORE": "",
    "CONFIG_DEBUG_INFO_BTF_MODULES": "",
    "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT": "",
}
_PLAIN = re.compile(r"[\w/.,+@~-]+")
_BUILT_INTO_IOMMUFD = ("iova_bitmap", "driver")

# The span iterator of interval trees is for iommufd alone, so a stock kernel doesn't have it.
_SPAN_ITERATOR = """\
#include <linux/export.h>
#undef EXPORT_SYMBOL_GPL
#define EXPORT_SYMBOL_GPL(symbol)
#include "interval_tree.c"
"""


def missing_tools() -> tuple[str, ...]:
    """The programs that building needs and that are not there."""
    return tuple(tool for tool in ("gcc", "make", "ld", "objcopy") if shutil.which(tool) is None)


def rebuild(
    headers: Path,
    sources: Path,
    work: Path,
    *,
    libc: Callable[[], Path],
    progress: Progress,
) -> list[Path]:
    """Build the modules in the folder work, which is new; returns the .ko files, in it.

    headers is where linux-headers-*, its -common and linux-kbuild-* were unpacked, sources a
    tree with SOURCES. If the kernel's build tools are too new for this host's C library, libc()
    is asked for where the libc6 and libelf1 of their own suite are unpacked. The build takes
    about 12 seconds of two cores. Raises LabError.
    """
    missing = missing_tools()
    if missing:
        raise LabError(
            f"building the kernel's iommufd modules: no {', '.join(missing)} here",
            "install them: apt install build-essential",
        )
    if not _PLAIN.fullmatch(str(work)):
        raise LabError(
            f"building the kernel's iommufd modules in {work}: make takes no such path",
            "set XDG_CACHE_HOME to a folder without spaces, colons, quotes and the like",
        )
    progress("building iommufd and vfio modules for the stock kernel")
    _lay_out_sources(sources, work)
    build = _lay_out_headers(headers, work, libc)
    flags = " ".join(
        f"-D{option}{'_MODULE' if value == 'm' else ''}=1" for option, value in _OPTIONS.items()
    )
    command = ["make", "-C", str(build), f"M={work}", f"-j{os.cpu_count() or 1}"]
    command += [f"{option}={value}" for option, value in (_OPTIONS | _MAKE_ONLY).items()]
    command += [f"KCFLAGS={flags} -g0", "CC=gcc", "modules"]
    log = work / "build.log"
    status = _run(command, log)
    modules = sorted(path for path in work.rglob("*.ko"))
    if status or not modules:
        raise LabError(
            f"building the kernel's iommufd modules: make ended with {status}: {_errors(log)}",
            "take --kernel 6.1, which goes without them; and report this",
        )
    return modules


def _run(command: Sequence[str], log: Path) -> int:
    """Its status. If this process is to end, all that make has started ends at once."""
    with log.open("wb") as output, process_group() as group:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Settings of a make that may have started us are not for this one.
            env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
            process_group=group,
        ).returncode


def _lay_out_sources(sources: Path, work: Path) -> None:
    """The same shape as the kernel's tree, since its files include each other by it."""
    iommufd = work / "drivers/iommu/iommufd"
    shutil.copytree(sources / "drivers/vfio", work / "drivers/vfio")
    shutil.copytree(sources / "drivers/iommu/iommufd", iommufd)
    for header in (sources / "drivers/iommu").glob("*.h"):
        shutil.copy(header, iommufd.parent)
    shutil.copytree(sources / "samples/vfio-mdev", work / "samples/vfio-mdev")
    shutil.copy(sources / "lib/interval_tree.c", iommufd)
    (iommufd / "span_iterator.c").write_text(_SPAN_ITERATOR)
    extra = [name for name in _BUILT_INTO_IOMMUFD if (iommufd / f"{name}.c").exists()]
    with (iommufd / "Makefile").open("a") as makefile:
        print("iommufd-y +=", *(f"{name}.o" for name in [*extra, "span_iterator"]), file=makefile)
    (work / "Kbuild").write_text(
        "obj-m += drivers/iommu/iommufd/ drivers/vfio/ samples/vfio-mdev/\n"
    )


def _lay_out_headers(headers: Path, work: Path, libc: Callable[[], Path]) -> Path:
    """A build tree of our own: the packaged one has absolute paths to where dpkg puts it."""
    tree = work / "headers"
    common = _only(headers, "usr/src/linux-headers-*-common*")
    flavour = _only(headers, "usr/src/linux-headers-*[!n]", but=common)
    kbuild = _only(headers, "usr/lib/linux-kbuild-*")
    for source, name in ((flavour, "build"), (common, "common"), (kbuild, "kbuild")):
        shutil.copytree(source, tree / name, symlinks=True)
    for name in ("build", "common"):
        for link in (tree / name / "scripts", tree / name / "tools"):
            if link.is_symlink():
                link.unlink()
                link.symlink_to(f"../kbuild/{link.name}")
    (tree / "build/Makefile").write_text(
        f"KBUILD_OUTPUT = {tree / 'build'}\ninclude {tree / 'common/Makefile'}\n"
    )
    strangers = [program for program in _programs(tree / "kbuild") if not _runs(program)]
    if strangers:
        unpacked = libc()
        for program in strangers:
            _wrap(program, unpacked)
    return tree / "build"


def _only(headers: Path, pattern: str, but: Path | None = None) -> Path:
    found = [path for path in headers.glob(pattern) if path != but]
    if len(found) != 1:
        raise LabError(
            f"building the kernel's iommufd modules: {len(found)} of {pattern} in the headers",
            "this is a bug of the lab, or another layout of Debian's packages",
        )
    return found[0]


def _programs(kbuild: Path) -> list[Path]:
    programs = []
    for path in kbuild.rglob("*"):
        if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK):
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    programs.append(path)
    return programs


def _runs(program: Path) -> bool:
    """Whether the C library here has what the program needs (ld.so says what it hasn't)."""
    result = subprocess.run(
        [program, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return b"GLIBC_" not in result.stderr and b"shared libraries" not in result.stderr


def _wrap(program: Path, libc: Path) -> None:
    """Have the program run with the C library that is unpacked in libc."""
    # Links lead to where it would be once installed.
    loaders = libc.rglob("ld-linux-x86-64.so.2")
    loader = next(path for path in loaders if not path.is_symlink())
    libraries = next(libc.rglob("libc.so.6")).parent
    real = program.rename(program.with_name(program.name + ".real"))
    # Some look for their helpers beside what they were called by.
    program.write_text(
        f'#!/bin/sh\nexec "{loader}" --argv0 "$0" --library-path "{libraries}" "{real}" "$@"\n'
    )
    program.chmod(0o755)


def _errors(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "error" in line.lower() or "***" in line]
    return " / ".join((errors or lines)[:3])
