# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab's kernels and their rebuilt variants, the initramfs, and prepare() as a whole.

Debian's packages are made up, as small as they can be; what unpacks and builds them is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyvmm.debian import busybox as busybox_module
from pyvmm.debian.errors import NoSuchPackage
from pyvmm.debian.modules import ModuleSet, write_tree
from pyvmm.lab import assets as assets_module
from pyvmm.lab import initramfs as initramfs_module
from pyvmm.lab.assets import check, prepare
from pyvmm.lab.errors import LabError
from pyvmm.lab.kernels import (
    LabKernel,
    config_features,
    find_lab_kernel,
    make_lab_kernel,
    publish,
)
from pyvmm.lab.rebuilt_kernel import merged, rebuilt_name
from tests.unit.debian.made_up import BUILT_IN, VMLINUX, module, silent

if TYPE_CHECKING:
    from pathlib import Path

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernel_packages import Package
    from pyvmm.debian.kernels import Kernel
    from pyvmm.debian.progress import Progress

    from .conftest import MakeProgram


@pytest.fixture
def lab_kernel(cache: Cache, kernel: Kernel) -> LabKernel:
    with cache.locked(silent):
        return make_lab_kernel(cache, kernel, silent)


def test_what_the_lab_has_of_a_kernel(cache: Cache, kernel: Kernel, lab_kernel: LabKernel) -> None:
    assert lab_kernel == find_lab_kernel(cache, "6.12")
    assert lab_kernel.release == kernel.release
    assert lab_kernel.vmlinux.samefile(kernel.vmlinux)
    assert lab_kernel.features == {"noiommu"}
    dependencies = (lab_kernel.modules / "modules.dep").read_text()
    assert "kernel/9pnet_virtio.ko: kernel/9pnet.ko\n" in dependencies
    assert BUILT_IN in ModuleSet(lab_kernel.modules).built_in


def test_features_by_the_configuration() -> None:
    config = "CONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\n# CONFIG_VFIO_NOIOMMU is not set\n"
    assert config_features(config) == {"iommufd", "cdev"}
    assert config_features("CONFIG_IOMMUFD_DRIVER=y\nCONFIG_X=n\n") == frozenset()


def test_rebuilt_modules_take_the_place_of_those_of_their_names(
    lab_kernel: LabKernel, tmp_path: Path
) -> None:
    built = [tmp_path / "vfio-pci-core.ko", tmp_path / "iommufd.ko"]
    built[0].write_bytes(module("iommufd", "built"))
    built[1].write_bytes(module("", "built"))
    write_tree(merged(lab_kernel.modules, built), tmp_path / "merged")
    modules = ModuleSet(tmp_path / "merged")
    order = [module.path for module in modules.closure(["vfio_pci"], wanted_by="a test")]
    assert order == ["updates/iommufd.ko", "updates/vfio-pci-core.ko", "kernel/vfio_pci.ko"]
    assert modules["vfio_pci_core"].image == module("iommufd", "built")
    assert not (tmp_path / "merged/kernel/vfio_pci_core.ko").exists()


@pytest.fixture
def mirror(
    package: Package,
    program: MakeProgram,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> list[str]:
    """All of the host that prepare() looks at, made up; returns what it looked up or built."""
    calls: list[str] = []

    def look_up(cache: Cache, name: str, progress: Progress) -> Package:
        calls.append(f"look up {name}")
        return package

    def rebuild(
        cache: Cache, kernel: Kernel, stock: LabKernel, package: Package, progress: Progress
    ) -> LabKernel:
        calls.append(f"rebuild {stock.name}")
        modules = [*ModuleSet(stock.modules)]
        return publish(cache, rebuilt_name(kernel.name), kernel, modules, stock.features)

    monkeypatch.setattr(assets_module, "look_up_kernel", look_up)
    monkeypatch.setattr(assets_module, "rebuild_kernel", rebuild)
    monkeypatch.setattr(assets_module, "missing_tools", lambda: ())
    monkeypatch.setattr(busybox_module, "is_static", lambda _: True)
    init = tmp_path / "init.sh"
    init.write_text("#!/bin/busybox sh\n")
    monkeypatch.setattr(initramfs_module, "INIT", init)
    program("busybox", "")
    program("qemu-system-x86_64", "echo QEMU emulator version 10.0.2")
    return calls


def test_prepare_makes_what_is_missing_and_then_nothing(mirror: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    assets = prepare(progress=told.append)
    assert mirror == ["look up 6.12", "rebuild 6.12"]
    assert told
    assert assets.vmlinux.read_bytes() == VMLINUX
    assert assets.kernel_release == "6.99+deb99-amd64"
    assert assets.qemu.version == (10, 0, 2)
    assert (assets.modules / "modules.dep").exists()
    archive = assets.initramfs.read_bytes()
    assert (tmp_path / "init.sh").read_bytes() in archive
    order = "virtio_pci\n9pnet\n9pnet_virtio\n9p\noverlay\nkvm_amd\nvfio\nvfio_iommu_type1\n"
    assert f"{order}vfio_pci_core\nvfio_pci\n".encode() in archive

    told.clear()
    assert prepare(progress=told.append) == assets
    assert mirror == ["look up 6.12", "rebuild 6.12"]
    assert told == []


def test_prepare_makes_another_initramfs_for_another_init(
    mirror: list[str], tmp_path: Path
) -> None:
    first = prepare()
    (tmp_path / "init.sh").write_text("#!/bin/busybox sh\necho other\n")
    second = prepare()
    assert first.initramfs != second.initramfs
    assert first._replace(initramfs=second.initramfs) == second
    assert len(mirror) == 2


def test_prepare_again_when_asked_to(mirror: list[str]) -> None:
    prepare(rebuild=False)
    prepare(rebuild=False, refresh=True)
    assert mirror == ["look up 6.12"] * 2


def test_prepare_without_a_compiler_has_the_stock_kernel(
    mirror: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets_module, "missing_tools", lambda: ("gcc",))
    prepare()
    assert mirror == ["look up 6.12"]


def test_a_kernel_that_is_too_old_is_not_rebuilt(mirror: list[str]) -> None:
    prepare("6.1")
    assert mirror == ["look up 6.1"]


@pytest.mark.usefixtures("mirror")
def test_a_kernel_that_takes_no_device_without_an_iommu_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assets = prepare("6.1", iommu="none", devices="edu")
    (assets.vmlinux.parent / "features").unlink()  # so that it is made anew
    monkeypatch.setattr("pyvmm.lab.kernels._FEATURES", {})
    prepare("6.1", iommu="none")
    with pytest.raises(LabError, match="no-IOMMU mode"):
        prepare("6.1", iommu="none", devices="edu")


@pytest.mark.usefixtures("mirror")
def test_a_kernel_that_is_none_is_told() -> None:
    with pytest.raises(LabError, match=r"no kernel 5\.10 .*; choose 6\.1, 6\.12, newest"):
        prepare("5.10")
    with pytest.raises(LabError, match=r"no kernel 5\.10"):
        check("5.10")


@pytest.mark.usefixtures("mirror")
def test_check_tells_what_is_missing_until_it_is_there() -> None:
    before = {finding.subject: finding for finding in check()}
    assert before["kernel 6.12"][1:4] == (False, "not fetched yet", "pyvmm lab setup --kernel 6.12")
    assert before["kernel 6.12"].needed
    assert "missing:" in str(before["kernel 6.12"])
    assert before["QEMU"].ok
    prepare()
    after = {finding.subject: finding for finding in check()}
    assert str(after["kernel 6.12"]).endswith("ok:      6.99+deb99-amd64 with noiommu")
    assert not any(finding.needed and not finding.ok for finding in after.values())


@pytest.mark.usefixtures("mirror")
def test_check_tells_of_a_kernel_that_could_have_more() -> None:
    prepare(rebuild=False)
    (finding,) = (finding for finding in check() if finding.subject == "kernel 6.12")
    assert not finding.ok
    assert not finding.needed
    assert "no iommufd" in finding.text


def test_what_a_vm_has_fetched_is_not_looked_up(mirror: list[str], kernel: Kernel) -> None:
    assert prepare(rebuild=False).vmlinux.samefile(kernel.vmlinux)
    assert mirror == []


def test_errors_of_debians_packages_are_the_labs(
    mirror: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: object) -> Package:
        raise NoSuchPackage("it ended", "take another one")

    monkeypatch.setattr(assets_module, "look_up_kernel", look_up)
    with pytest.raises(LabError, match="it ended; take another one") as failure:
        prepare()
    assert (failure.value.cause, failure.value.cure) == ("it ended", "take another one")
