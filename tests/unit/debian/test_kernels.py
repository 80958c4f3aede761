# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernels by name, looked up in suites, and out of packages of both layouts.

The packages are made up, as small as they can be; what unpacks them is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyvmm.debian import kernel_packages, names
from pyvmm.debian.errors import DebianError, NoSuchPackage
from pyvmm.debian.kernel_packages import fetch_kernel, look_up_kernel
from pyvmm.debian.kernels import find_kernel
from pyvmm.debian.modules import ModuleSet
from tests.unit.debian.made_up import BUILT_IN, VMLINUX, bzimage, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernel_packages import Package
    from pyvmm.debian.kernels import Kernel
    from pyvmm.debian.progress import Progress


def test_a_kernel_from_its_packages(cache: Cache, package: Package, kernel: Kernel) -> None:
    assert package.apt.downloads == [  # type: ignore[attr-defined]
        "linux-image-6.99+deb99-amd64=6.99.1-1",
        "linux-modules-6.99+deb99-amd64=6.99.1-1",
    ]
    assert kernel == find_kernel(cache, "6.12")
    assert kernel.release == "6.99+deb99-amd64"
    assert kernel.version == "6.99.1-1"
    assert kernel.vmlinux.read_bytes() == VMLINUX
    assert kernel.vmlinuz.read_bytes() == bzimage()
    assert kernel.config.read_text().startswith("CONFIG_VFIO_NOIOMMU=y\n")
    modules = ModuleSet(kernel.modules)
    assert BUILT_IN in modules.built_in
    order = [module.path for module in modules.closure(["nvme"], wanted_by="a test")]
    assert order == ["kernel/nvme-core.ko", "kernel/nvme.ko"]


def test_a_version_that_is_there_is_not_fetched_again(
    cache: Cache, package: Package, kernel: Kernel
) -> None:
    package.apt.downloads.clear()  # type: ignore[attr-defined]
    with cache.locked(silent):
        assert fetch_kernel(cache, "6.12", package, silent) == kernel
    assert package.apt.downloads == []  # type: ignore[attr-defined]


def test_a_package_of_another_layout_is_told(
    cache: Cache, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_packages, "unpack", lambda *_: None)
    with cache.locked(silent), pytest.raises(DebianError, match="neither in"):
        fetch_kernel(cache, "6.12", package, silent)
    assert find_kernel(cache, "6.12") is None


class Suites:
    """Of these, bookworm-backports has ended."""

    asked: tuple[tuple[str, str], ...] = ()

    def __init__(self, cache: Cache, suites: Sequence[str]) -> None:
        self.suites = suites

    def show(self, package: str, progress: Progress) -> dict[str, str]:
        Suites.asked += ((self.suites[0], package),)
        if self.suites == ["bookworm-backports"]:
            raise NoSuchPackage("it ended")
        return {"depends": "linux-image-6.12.9+deb13-amd64, x", "version": "6.12.9-1"}


@pytest.mark.parametrize(
    ("name", "meta_package"),
    [("6.12", "linux-image-amd64"), ("6.12-cloud", "linux-image-cloud-amd64")],
)
def test_the_suite_that_has_the_kernel_is_looked_for(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str, meta_package: str
) -> None:
    monkeypatch.setattr(kernel_packages, "Apt", Suites)
    monkeypatch.setattr(Suites, "asked", ())
    apt, release, version = look_up_kernel(cache, name, silent)
    assert list(apt.suites) == ["trixie"]
    assert (release, version) == ("6.12.9+deb13-amd64", "6.12.9-1")
    assert Suites.asked[:2] == (("bookworm-backports", meta_package), ("trixie", meta_package))


@pytest.mark.parametrize("name", names.KERNELS)
def test_a_name_may_say_that_the_compressed_image_is_meant(name: str) -> None:
    assert names.parse(f"debian:{name}") == (name, False)
    assert names.parse(f"debian:{name}/vmlinuz") == (name, True)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("debian:6.13", "6.1"), ("debian:Newest", "newest"), ("debian:6.12-clod", "6.12-cloud")],
)
def test_the_name_of_no_kernel_is_told_with_what_there_is(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"no kernel {name}; did you mean debian:{meant}") as told:
        names.parse(name)
    assert str(told.value).endswith(", ".join(f"debian:{known}" for known in names.KERNELS))


def test_a_name_unlike_any_other_is_told_without_a_guess() -> None:
    with pytest.raises(ValueError, match="there is no kernel debian:; there are debian:6"):
        names.parse("debian:")
