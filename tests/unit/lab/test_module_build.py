# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Building modules against packaged headers, with made-up packages in their shape.

That what is built is loaded and works is shown in the lab itself.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyvmm.lab.errors import LabError
from pyvmm.lab.module_build import missing_tools, rebuild

# Stands in for the kernel's top Makefile: a module is a file with what make was told.
MAKEFILE = """\
modules:
\t@test -d "$(KBUILD_OUTPUT)"
\t@cat $(M)/Kbuild $(M)/drivers/iommu/iommufd/Makefile > $(M)/made.ko
\t@echo '$(CONFIG_IOMMUFD)$(CONFIG_IOMMUFD_DRIVER) $(KCFLAGS)' >> $(M)/made.ko
"""


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    source = tmp_path / "headers/usr/src"
    for name in ("linux-headers-6.12-amd64", "linux-headers-6.12-common"):
        (source / name).mkdir(parents=True)
        (source / name / "scripts").symlink_to("../../lib/linux-kbuild-6.12/scripts")
    (source / "linux-headers-6.12-common/Makefile").write_text(MAKEFILE)
    (tmp_path / "headers/usr/lib/linux-kbuild-6.12/scripts").mkdir(parents=True)
    shutil.copy("/bin/true", tmp_path / "headers/usr/lib/linux-kbuild-6.12/scripts/fixdep")
    return tmp_path / "headers"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    tree = tmp_path / "sources"
    for folder in ("drivers/vfio", "drivers/iommu/iommufd", "samples/vfio-mdev", "lib"):
        (tree / folder).mkdir(parents=True)
    (tree / "drivers/iommu/iommu-priv.h").touch()
    (tree / "drivers/iommu/iommufd/Makefile").write_text("iommufd-y := main.o\n")
    (tree / "drivers/iommu/iommufd/iova_bitmap.c").touch()
    (tree / "lib/interval_tree.c").touch()
    return tree


def no_libc() -> Path:
    raise AssertionError("this host's C library will do")


def test_the_options_reach_make_and_the_compiler(
    headers: Path, sources: Path, tmp_path: Path
) -> None:
    assert not missing_tools()
    said: list[str] = []
    work = tmp_path / "work"
    modules = rebuild(headers, sources, work, libc=no_libc, progress=said.append)
    assert modules == [work / "made.ko"]
    made = modules[0].read_text().splitlines()
    assert made[0] == "obj-m += drivers/iommu/iommufd/ drivers/vfio/ samples/vfio-mdev/"
    assert "iommufd-y += iova_bitmap.o span_iterator.o" in made  # no driver.c in this kernel
    assert made[-1].startswith("m ")
    assert "-DCONFIG_IOMMUFD_MODULE=1" in made[-1]
    assert "-DCONFIG_VFIO_NOIOMMU=1" in made[-1]
    assert said
    assert (work / "drivers/iommu/iommu-priv.h").exists()


def test_a_build_that_fails_is_told_with_the_compilers_words(
    headers: Path, sources: Path, tmp_path: Path
) -> None:
    makefile = next(headers.glob("usr/src/*-common/Makefile"))
    makefile.write_text("modules:\n\t@echo 'main.c:1: error: no such thing'; exit 1\n")
    with pytest.raises(LabError, match=r"main\.c:1: error: no such thing.*take --kernel 6\.1"):
        rebuild(headers, sources, tmp_path / "work", libc=no_libc, progress=lambda _: None)


class Stop(BaseException):
    pass


def test_who_is_to_end_leaves_nothing_of_make(headers: Path, sources: Path, tmp_path: Path) -> None:
    number = tmp_path / "number"
    makefile = next(headers.glob("usr/src/*-common/Makefile"))
    makefile.write_text(
        f"modules:\n\techo $$$$ >{number}.new; mv {number}.new {number}; sleep 1000\n"
    )
    shells: list[int] = []

    def end(*_: object) -> None:
        if not number.exists():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            return
        shells.append(os.pidfd_open(int(number.read_text())))
        raise Stop

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Stop):
            rebuild(headers, sources, tmp_path / "work", libc=no_libc, progress=lambda _: None)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert select.select(shells, [], [], 30)[0] == shells
    os.close(shells[0])


KILLED = """
import sys
from pathlib import Path
from pyvmm.lab.module_build import rebuild
headers, sources, work = map(Path, sys.argv[1:])
rebuild(headers, sources, work, libc=Path, progress=lambda _: None)
"""


def test_who_is_killed_leaves_nothing_of_make(headers: Path, sources: Path, tmp_path: Path) -> None:
    """Neither of what make has started: it is that which takes the processors."""
    told = tmp_path / "told"
    os.mkfifo(told)
    makefile = next(headers.glob("usr/src/*-common/Makefile"))
    makefile.write_text(f"modules:\n\techo $$$$ $$PPID >{told}; sleep 1000; true\n")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, headers, sources, tmp_path / "work"]
    ) as builder:
        shell, make = (os.pidfd_open(int(pid)) for pid in told.read_text().split())
        builder.kill()
        for process in (shell, make):
            assert select.select([process], [], [], 30)[0]
            os.close(process)


def test_a_make_that_makes_nothing_is_a_failure(
    headers: Path, sources: Path, tmp_path: Path
) -> None:
    next(headers.glob("usr/src/*-common/Makefile")).write_text("modules:\n")
    with pytest.raises(LabError, match="make ended with 0"):
        rebuild(headers, sources, tmp_path / "work", libc=no_libc, progress=lambda _: None)


def test_a_package_that_is_not_there_is_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"0 of usr/src/linux-headers-\*-common"):
        rebuild(tmp_path, sources, tmp_path / "work", libc=no_libc, progress=lambda _: None)


@pytest.mark.parametrize("name", ["a b", "a:b", "a'b", "$(a)"])
def test_a_path_that_make_can_not_take(
    headers: Path, sources: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(LabError, match="set XDG_CACHE_HOME to a folder without spaces, colons"):
        rebuild(headers, sources, tmp_path / name, libc=no_libc, progress=lambda _: None)


def test_no_compiler_is_told_with_what_to_install(
    headers: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="no gcc, make, ld, objcopy here; install them: apt"):
        rebuild(headers, sources, tmp_path / "work", libc=no_libc, progress=lambda _: None)


def test_tools_that_are_too_new_run_with_their_own_c_library(
    headers: Path, sources: Path, tmp_path: Path
) -> None:
    tool = headers / "usr/lib/linux-kbuild-6.12/scripts/fixdep"
    # What ld.so does with a version it doesn't have depends on the program alone.
    tool.write_bytes(tool.read_bytes().replace(b"GLIBC_2.", b"GLIBC_9."))
    libc = tmp_path / "libc/lib"
    libc.mkdir(parents=True)
    (libc / "ld-linux-x86-64.so.2").write_text('#!/bin/sh\necho loaded with "$4" as "$2"\n')
    (libc / "ld-linux-x86-64.so.2").chmod(0o755)
    (libc / "libc.so.6").touch()
    work = tmp_path / "work"
    makefile = next(headers.glob("usr/src/*-common/Makefile"))
    makefile.write_text("modules:\n\t@$(KBUILD_OUTPUT)/scripts/fixdep > $(M)/made.ko\n")
    for name in ("linux-headers-6.12-amd64", "linux-headers-6.12-common"):
        assert (headers / "usr/src" / name / "scripts").is_symlink()
    modules = rebuild(
        headers, sources, work, libc=lambda: tmp_path / "libc", progress=lambda _: None
    )
    made = modules[0].read_text()
    assert made == f"loaded with {libc} as {work}/headers/build/scripts/fixdep\n"
