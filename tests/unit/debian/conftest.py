# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A cache folder of a test's own, programs made up by it, and a made-up kernel in packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.debian import kernel_packages
from pyvmm.debian.cache import Cache
from pyvmm.debian.kernel_packages import Package, fetch_kernel
from pyvmm.debian.kernels import Kernel
from tests.unit.debian.made_up import RELEASE, MadeUpApt, silent, write_kernel

MakeProgram = Callable[[str, str], Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PYVMM_QEMU", raising=False)
    return Cache()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeProgram:
    """Puts a shell script before all other programs of its name."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(params=[False, True], ids=["boot", "usr"])
def package(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> Package:
    """A kernel of the archive, whose packages have either of the two layouts."""

    def unpack(_: object, into: Path) -> None:
        write_kernel(into, RELEASE, new_layout=request.param)

    monkeypatch.setattr(kernel_packages, "unpack", unpack)
    return Package(MadeUpApt(), RELEASE, "6.99.1-1")  # type: ignore[arg-type]


@pytest.fixture
def kernel(cache: Cache, package: Package) -> Kernel:
    """The same in the cache, as 6.12."""
    with cache.locked(silent):
        return fetch_kernel(cache, "6.12", package, silent)
