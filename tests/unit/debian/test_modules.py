# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Module dependencies and module trees, of made-up modules."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.debian.errors import DebianError
from pyvmm.debian.modules import Module, ModuleSet, canonical, module_name, write_tree

if TYPE_CHECKING:
    from pathlib import Path


def made(depends: str = "", *others: str) -> bytes:
    """The image of a module as far as it is read: its .modinfo."""
    strings = ["license=GPL", f"depends={depends}", *others]
    return b"\x7fELF code\0" + b"\0".join(text.encode() for text in strings) + b"\0more"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "lib/modules/6.99"
    files = {
        "kernel/net/9p/9pnet.ko.xz": lzma.compress(made("netfs")),
        "kernel/net/9p/9pnet_virtio.ko": made("9pnet,virtio"),
        "kernel/fs/netfs/netfs.ko.gz": gzip.compress(made()),
        "kernel/kvm/kvm-amd.ko": made("kvm,ccp", "alias=cpu:type:x86*", "parm=npt:int"),
        "kernel/kvm/kvm.ko": made("", "softdep=pre: irqbypass absent post: kvm-amd"),
        "kernel/crypto/ccp.ko": made("", "alias=pci:v1022d*", "alias=acpi*:AMD:*"),
        "kernel/virt/irqbypass.ko": made(),
        "kernel/broken.ko": made("nowhere"),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    return folder


def names(modules: list[Module]) -> list[str]:
    return [module.name for module in modules]


def test_dependencies_come_first_and_built_in_ones_not_at_all(tree: Path) -> None:
    modules = ModuleSet(tree).closure(["9pnet_virtio"], wanted_by="a test")
    assert names(modules) == ["netfs", "9pnet", "9pnet_virtio"]


def test_soft_dependencies_come_first_if_they_are_there(tree: Path) -> None:
    modules = ModuleSet(tree).closure(["kvm-amd"], wanted_by="a test")
    assert names(modules) == ["irqbypass", "kvm", "ccp", "kvm_amd"]


@pytest.mark.parametrize("alias", ["crc32c", "crypto-crc32c"])
def test_a_soft_dependency_may_be_an_alias_of_several(tree: Path, alias: str) -> None:
    files = {
        "ext4.ko": made("", f"softdep=pre: {alias}"),
        "crc32c-generic.ko": made("", "alias=crypto-crc32c", "alias=crc32c"),
        "crc32c-intel.ko": made("", "alias=crypto-crc32c", "alias=crc32c"),
        "crc32c-other.ko": made("", "alias=crc32c-other"),
    }
    for name, data in files.items():
        (tree / "kernel" / name).write_bytes(data)
    modules = ModuleSet(tree).closure(["ext4"], wanted_by="a test")
    assert names(modules) == ["crc32c_generic", "crc32c_intel", "ext4"]


def test_compressed_modules_come_out_plain(tree: Path) -> None:
    (module,) = ModuleSet(tree).closure(["netfs"], wanted_by="a test")
    assert module == Module("netfs", "kernel/fs/netfs/netfs.ko", made())


def test_a_missing_module_is_told_with_what_needs_it(tree: Path) -> None:
    modules = ModuleSet(tree)
    with pytest.raises(DebianError, match="no module nowhere, which broken needs"):
        modules.closure(["broken"], wanted_by="a test")
    with pytest.raises(DebianError, match="no module other, which a test needs; choose"):
        modules.closure(["other"], wanted_by="a test")
    with pytest.raises(
        DebianError, match="no module kvmamd, which a test needs; did you mean kvm_"
    ):
        modules.closure(["kvmamd"], wanted_by="a test")
    assert modules.closure([], wanted_by="a test", optional=["other", "virtio"]) == []


def test_a_module_in_updates_goes_before_the_kernels_own(tree: Path) -> None:
    (tree / "updates").mkdir()
    (tree / "updates/kvm.ko").write_bytes(made())
    (module,) = ModuleSet(tree).closure(["kvm"], wanted_by="a test")
    assert module.path == "updates/kvm.ko"


def test_a_damaged_module_is_told(tree: Path) -> None:
    path = tree / "kernel/net/9p/9pnet.ko.xz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DebianError, match=r"9pnet\.ko\.xz"):
        ModuleSet(tree).closure(["9pnet"], wanted_by="a test")


def test_the_tree_that_is_written_is_one_for_modprobe(tree: Path, tmp_path: Path) -> None:
    written = tmp_path / "written"
    write_tree(ModuleSet(tree).closure(["kvm_amd", "9pnet"], wanted_by="a test"), written)
    assert (written / "modules.dep").read_text().splitlines() == [
        "kernel/virt/irqbypass.ko:",
        "kernel/kvm/kvm.ko:",
        "kernel/crypto/ccp.ko:",
        "kernel/kvm/kvm-amd.ko: kernel/crypto/ccp.ko kernel/kvm/kvm.ko",
        "kernel/fs/netfs/netfs.ko:",
        "kernel/net/9p/9pnet.ko: kernel/fs/netfs/netfs.ko",
    ]
    assert (written / "modules.alias").read_text().splitlines() == [
        "alias pci:v1022d* ccp",
        "alias acpi*:AMD:* ccp",
        "alias cpu:type:x86* kvm_amd",
    ]
    assert "softdep kvm pre: irqbypass" in (written / "modules.softdep").read_text()
    assert names(ModuleSet(written).closure(["9pnet"], wanted_by="a test")) == ["netfs", "9pnet"]
    assert (written / "kernel/net/9p/9pnet.ko").read_bytes() == made("netfs")


@given(
    st.dictionaries(
        st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=10
    )
)
def test_each_module_comes_after_all_that_it_depends_on(
    tmp_path_factory: pytest.TempPathFactory, graph: dict[int, list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("modules")
    # Only to lower numbers, for modules can't need each other.
    depends = {
        f"m{number}": [f"m{other}" for other in others if other < number and other in graph]
        for number, others in graph.items()
    }
    for name, others in depends.items():
        (folder / f"{name}.ko").write_bytes(made(",".join(others)))
    order = names(ModuleSet(folder).closure(depends, wanted_by="a test"))
    assert sorted(order) == sorted(depends)
    for name, others in depends.items():
        assert all(order.index(other) < order.index(name) for other in others)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("kvm-amd.ko", "kvm_amd"),
        ("a.ko.zst", "a"),
        ("a.ko.xz", "a"),
        ("a.ko.sig", ""),
        ("a.mod", ""),
    ],
)
def test_names(tmp_path: Path, file: str, name: str) -> None:
    assert module_name(tmp_path / file) == name
    assert canonical(name) == name
