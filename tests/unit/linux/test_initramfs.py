# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The archive that a guest starts with, and what has the cache tell one from another."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyvmm.debian.cpio import Entry
from pyvmm.debian.errors import DebianError
from pyvmm.linux.errors import UnusableBusybox
from pyvmm.linux.exit_program import exit_program
from pyvmm.linux.initramfs import make_initramfs
from pyvmm.linux.recipe import INIT, Recipe
from pyvmm.memory import layout
from tests.unit.debian.made_up import RELEASE, module, silent
from tests.unit.debian.test_cpio import read
from tests.unit.linux.conftest import publish_busybox

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernels import Kernel

TREE = f"lib/modules/{RELEASE}"


def made(cache: Cache, recipe: Recipe, busybox: Path) -> dict[str, Entry]:
    """What is in the archive, by name; each name once, and after the folder it is in."""
    with cache.locked(silent):
        path = make_initramfs(cache, recipe, busybox, silent)
    assert recipe.find(cache, str(busybox)) == path
    entries: dict[str, Entry] = {}
    for _, entry in read(Path(path).read_bytes()):
        above = entry.name.rpartition("/")[0]
        assert entry.name not in entries
        assert not above or stat.S_ISDIR(entries[above].mode)
        entries[entry.name] = entry
    return entries


def test_what_is_in_it(cache: Cache, kernel: Kernel, busybox: Path) -> None:
    recipe = Recipe(str(kernel.folder), ("nvme", "virtio_console"), b"echo hello\n")
    entries = made(cache, recipe, busybox)
    assert entries["init"].data == Path(INIT).read_bytes()
    assert entries["script"].data == b"echo hello\n"
    assert entries["bin/busybox"].data == (busybox / "busybox").read_bytes()
    assert entries["bin/exit-guest"].data == exit_program(layout.DEBUG_EXIT_PORT)
    for name in ("init", "bin/busybox", "bin/exit-guest"):
        assert stat.S_IMODE(entries[name].mode) == 0o755
    for name, target in (("bin/sh", b"busybox"), ("bin/mount", b"busybox"), ("sbin", b"bin")):
        assert (stat.S_ISLNK(entries[name].mode), entries[name].data) == (True, target)
    for name in ("dev", "proc", "sys", "tmp", "run", "mnt"):
        assert stat.S_ISDIR(entries[name].mode)


def test_modules_with_all_they_need_and_built_in_ones_left_out(
    cache: Cache, kernel: Kernel, busybox: Path
) -> None:
    recipe = Recipe(str(kernel.folder), ("nvme", "virtio-console"), None)
    entries = made(cache, recipe, busybox)
    assert {name for name in entries if name.endswith(".ko")} == {
        f"{TREE}/kernel/nvme.ko",
        f"{TREE}/kernel/nvme-core.ko",
    }
    assert entries[f"{TREE}/kernel/nvme-core.ko"].data == module()
    assert entries[f"{TREE}/modules.dep"].data == (
        b"kernel/nvme-core.ko:\nkernel/nvme.ko: kernel/nvme-core.ko\n"
    )
    assert entries["etc/modules"].data == b"nvme\n"
    assert "script" not in entries


@pytest.mark.parametrize("asked", [("nvme",), ("nvme", "pvpanic-mmio")])
def test_what_tells_of_a_panic_is_loaded_first(
    cache: Cache, kernel: Kernel, busybox: Path, asked: tuple[str, ...]
) -> None:
    for name, depends in (("pvpanic-mmio", "pvpanic"), ("pvpanic", "")):
        (kernel.modules / "kernel" / f"{name}.ko").write_bytes(module(depends))
    entries = made(cache, Recipe(str(kernel.folder), asked, None), busybox)
    assert entries["etc/modules"].data == b"pvpanic_mmio\nnvme\n"
    assert f"{TREE}/kernel/pvpanic-mmio.ko" in entries
    assert f"{TREE}/kernel/pvpanic.ko" in entries


def test_what_tells_of_a_panic_may_be_built_in(cache: Cache, kernel: Kernel, busybox: Path) -> None:
    with (kernel.modules / "modules.builtin").open("a") as names:
        names.write("kernel/pvpanic-mmio.ko\n")
    entries = made(cache, Recipe(str(kernel.folder), ("nvme",), None), busybox)
    assert entries["etc/modules"].data == b"nvme\n"
    assert not [name for name in entries if "panic" in name]


def test_a_guest_with_a_kernel_of_its_own_has_no_modules(cache: Cache, busybox: Path) -> None:
    entries = made(cache, Recipe(None, (), b""), busybox)
    assert "lib" not in entries
    assert entries["etc/modules"].data == b""


def test_a_module_that_there_is_none_of(cache: Cache, kernel: Kernel, busybox: Path) -> None:
    recipe = Recipe(str(kernel.folder), ("nvmee",), None)
    with pytest.raises(DebianError, match="no module nvmee, which the config's initrd needs; did "):
        made(cache, recipe, busybox)
    assert recipe.find(cache, str(busybox)) is None


@pytest.mark.parametrize("text", ["#!/bin/sh\necho broken >&2; exit 1\n", "#!/bin/sh\n", "\x7fELF"])
def test_a_busybox_that_is_none(cache: Cache, text: str) -> None:
    with cache.locked(silent):
        busybox = publish_busybox(cache, text).parent
    with pytest.raises(UnusableBusybox, match="busybox --list: "):
        made(cache, Recipe(None, (), None), busybox)


def test_the_same_parts_make_the_same_archive(cache: Cache, kernel: Kernel, busybox: Path) -> None:
    recipe = Recipe(str(kernel.folder), ("nvme", "vfio_pci"), b"true\n")
    made(cache, recipe, busybox)
    first = recipe.find(cache, str(busybox))
    assert first is not None
    data = Path(first).read_bytes()
    Path(first).unlink()
    made(cache, recipe, busybox)
    assert Path(first).read_bytes() == data


def test_other_parts_are_another_one(cache: Cache, kernel: Kernel, busybox: Path) -> None:
    folder = str(kernel.folder)
    recipes = [
        Recipe(folder, ("nvme",), b"true\n"),
        Recipe(folder, ("nvme",), b"false\n"),
        Recipe(folder, ("nvme",), None),
        Recipe(folder, ("nvme", "vfio"), b"true\n"),
        Recipe(folder, ("vfio", "nvme"), b"true\n"),
        Recipe(None, ("nvme",), b"true\n"),
        Recipe(f"{folder}-2", ("nvme",), b"true\n"),
    ]
    places = [str(busybox), f"{busybox}-2"]
    versions = {recipe.version(place) for recipe in recipes for place in places}
    assert len(versions) == len(recipes) * len(places)


def test_another_init_is_another_one(
    busybox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(None, (), None)
    before = recipe.version(str(busybox))
    (tmp_path / "init.sh").write_text("#!/bin/sh\n")
    monkeypatch.setattr("pyvmm.linux.recipe.INIT", str(tmp_path / "init.sh"))
    assert recipe.version(str(busybox)) != before
