# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernel packages of both layouts, the rebuilt variant, the initramfs, and prepare() as a whole.

The packages are made up, as small as they can be; what unpacks and builds them is not.
"""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyvmm.lab import assets as assets_module
from pyvmm.lab import busybox as busybox_module
from pyvmm.lab import initramfs as initramfs_module
from pyvmm.lab import kernels as kernels_module
from pyvmm.lab.assets import check, prepare
from pyvmm.lab.errors import LabError, NoSuchPackage
from pyvmm.lab.kernels import BOOT_MODULES, Package, config_features, fetch_kernel, find_kernel
from pyvmm.lab.modules import ModuleSet
from pyvmm.lab.rebuilt_kernel import merge, rebuilt_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.lab.cache import Cache, Progress
    from pyvmm.lab.kernels import Kernel

    from .conftest import MakeProgram

VMLINUX = b"\x7fELF a kernel"
DEPENDS = {"9pnet_virtio": "9pnet", "vfio_pci": "vfio-pci-core", "vfio_iommu_type1": "vfio"}


def silent(_: str) -> None:
    pass


def module(depends: str = "", text: str = "stock") -> bytes:
    return f"{text}\0depends={depends}\0".encode()


def bzimage() -> bytes:
    payload = gzip.compress(VMLINUX)
    setup = bytearray(1024)
    setup[0x1F1], setup[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x20F)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))
    return bytes(setup) + payload


def write_kernel(into: Path, release: str, *, new_layout: bool) -> None:
    """What the packages of a kernel have in them."""
    tree = into / ("usr/lib" if new_layout else "lib") / "modules" / release
    names = {*BOOT_MODULES, *DEPENDS.values()} - {"virtio_console"}
    for name in names:
        path = tree / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(DEPENDS.get(name, "")))
    (tree / "modules.builtin").write_text("kernel/virtio_console.ko\n")
    boot = tree if new_layout else into / "boot"
    boot.mkdir(exist_ok=True)
    ending = "" if new_layout else f"-{release}"
    (boot / f"vmlinuz{ending}").write_bytes(bzimage())
    (boot / f"config{ending}").write_text("CONFIG_VFIO_NOIOMMU=y\n# CONFIG_IOMMUFD is not set\n")


class MadeUpApt:
    """A mirror with one kernel, which comes in two packages."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.suites = ("made-up",)
        self.downloads: list[str] = []

    def show(self, package: str, progress: Progress) -> dict[str, str]:
        return {"depends": f"kmod, linux-modules-{self.release} (= 1), linux-base (>= 4)"}

    def download(self, packages: Sequence[str], into: Path, progress: Progress) -> list[Path]:
        self.downloads += packages
        return [into / "linux.deb"]


@pytest.fixture(params=[False, True], ids=["boot", "usr"])
def package(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> Package:
    release = "6.99+deb99-amd64"

    def unpack(_: object, into: Path, __: object) -> None:
        write_kernel(into, release, new_layout=request.param)

    monkeypatch.setattr(kernels_module, "unpack", unpack)
    return Package(MadeUpApt(release), release, "6.99.1-1")  # type: ignore[arg-type]


@pytest.fixture
def kernel(cache: Cache, package: Package) -> Kernel:
    with cache.locked(silent):
        return fetch_kernel(cache, "6.12", package, silent)


def test_a_kernel_from_its_packages(cache: Cache, package: Package, kernel: Kernel) -> None:
    assert package.apt.downloads == [  # type: ignore[attr-defined]
        "linux-image-6.99+deb99-amd64=6.99.1-1",
        "linux-modules-6.99+deb99-amd64=6.99.1-1",
    ]
    assert kernel == find_kernel(cache, "6.12")
    assert kernel.release == "6.99+deb99-amd64"
    assert kernel.version == "6.99.1-1"
    assert kernel.vmlinux.read_bytes() == VMLINUX
    assert kernel.features == {"noiommu"}
    assert (
        "kernel/9pnet_virtio.ko: kernel/9pnet.ko\n" in (kernel.modules / "modules.dep").read_text()
    )
    assert "virtio_console" in ModuleSet(kernel.modules).built_in


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
    monkeypatch.setattr(kernels_module, "unpack", lambda *_: None)
    with cache.locked(silent), pytest.raises(LabError, match="neither in"):
        fetch_kernel(cache, "6.12", package, silent)
    assert find_kernel(cache, "6.12") is None


def test_features_by_the_configuration() -> None:
    config = "CONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\n# CONFIG_VFIO_NOIOMMU is not set\n"
    assert config_features(config) == {"iommufd", "cdev"}
    assert config_features("CONFIG_IOMMUFD_DRIVER=y\nCONFIG_X=n\n") == frozenset()


def test_rebuilt_modules_take_the_place_of_those_of_their_names(
    kernel: Kernel, tmp_path: Path
) -> None:
    built = [tmp_path / "vfio-pci-core.ko", tmp_path / "iommufd.ko"]
    built[0].write_bytes(module("iommufd", "built"))
    built[1].write_bytes(module("", "built"))
    merge(kernel.modules, built, tmp_path / "merged")
    merged = ModuleSet(tmp_path / "merged")
    order = [module.path for module in merged.closure(["vfio_pci"])]
    assert order == ["updates/iommufd.ko", "updates/vfio-pci-core.ko", "kernel/vfio_pci.ko"]
    assert merged["vfio_pci_core"].image == module("iommufd", "built")
    assert not (tmp_path / "merged/kernel/vfio_pci_core.ko").exists()
    assert "virtio_console" in merged.built_in


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

    def rebuild(cache: Cache, stock: Kernel, package: Package, progress: Progress) -> Kernel:
        calls.append(f"rebuild {stock.name}")
        with cache.staging() as staged:
            shutil.copytree(stock.folder, staged / "copy")
            cache.publish(
                staged / "copy", stock.folder.parent.name, rebuilt_name(stock.name), stock.version
            )
        kernel = find_kernel(cache, rebuilt_name(stock.name))
        assert kernel is not None
        return kernel

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
def test_a_kernel_that_takes_no_device_without_an_iommu_is_told() -> None:
    assets = prepare("6.1", iommu="none", devices="edu")
    (assets.vmlinux.parent / "features").write_text("")
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


def test_the_suite_that_has_the_kernel_is_looked_for(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Suites:
        def __init__(self, cache: Cache, suites: Sequence[str]) -> None:
            self.suites = suites

        def show(self, package: str, progress: Progress) -> dict[str, str]:
            if self.suites == ["bookworm-backports"]:
                raise NoSuchPackage("it ended")
            return {"depends": "linux-image-6.12.9+deb13-amd64, x", "version": "6.12.9-1"}

    monkeypatch.setattr(kernels_module, "Apt", Suites)
    apt, release, version = kernels_module.look_up_kernel(cache, "6.12", silent)
    assert list(apt.suites) == ["trixie"]
    assert (release, version) == ("6.12.9+deb13-amd64", "6.12.9-1")
