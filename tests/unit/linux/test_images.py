# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""prepare(): a config's kernel and initrd become files, once fetched and made, then found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyvmm import linux
from pyvmm.config import parse
from pyvmm.debian import busybox as busybox_module
from pyvmm.debian import kernel_packages
from pyvmm.debian.errors import DebianError, NoSuchPackage
from pyvmm.linux.errors import UnreadableScript
from pyvmm.linux.images import prepare
from tests.unit.linux.conftest import publish_busybox

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache
    from pyvmm.debian.kernel_packages import Package
    from pyvmm.debian.kernels import Kernel
    from pyvmm.debian.progress import Progress


@pytest.fixture
def archive(package: Package, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Debian's archive, with one kernel and a busybox; returns what was asked of it."""
    asked: list[str] = []

    def look_up(cache: Cache, name: str, progress: Progress) -> Package:
        asked.append(name)
        progress(f"looking for {name}")
        return package

    def fetch(cache: Cache, progress: Progress) -> Path:
        asked.append("busybox")
        return publish_busybox(cache)

    monkeypatch.setattr(kernel_packages, "look_up_kernel", look_up)
    monkeypatch.setattr(busybox_module, "fetch_busybox", fetch)
    return asked


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "hello.sh"
    path.write_text("echo hello\n")
    return path


def test_what_is_missing_is_fetched_and_made_and_then_found(
    archive: list[str], script: Path
) -> None:
    config = parse({"kernel": "debian:6.12", "initrd": {"modules": ["nvme"], "script": script}})
    told: list[str] = []
    kernel, initrd = prepare(config, told.append)
    assert archive == ["6.12", "busybox"]
    assert told[0] == "looking for 6.12"
    assert told[-1] == "making the guest's initramfs"
    assert Path(kernel).name == "vmlinux"
    assert Path(kernel).is_file()
    assert initrd is not None
    assert b"echo hello\n" in Path(initrd).read_bytes()

    told.clear()
    assert prepare(config, told.append) == (kernel, initrd)
    assert (archive, told) == (["6.12", "busybox"], [])


def test_another_script_is_another_initrd_and_nothing_is_fetched(
    archive: list[str], script: Path
) -> None:
    config = parse({"kernel": "debian:6.12", "initrd": {"script": script}})
    first = prepare(config)
    script.write_text("echo other\n")
    second = prepare(config)
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert archive == ["6.12", "busybox"]


def test_a_kernel_alone(archive: list[str]) -> None:
    kernel, initrd = prepare(parse({"kernel": "debian:newest-cloud"}))
    assert archive == ["newest-cloud"]
    assert "/newest-cloud-" in kernel
    assert initrd is None


def test_an_initrd_of_ones_own_stays_as_it_is(archive: list[str]) -> None:
    config = parse({"kernel": "debian:6.1", "initrd": "/boot/mine.img"})
    assert prepare(config)[1] == "/boot/mine.img"
    assert archive == ["6.1"]


def test_a_kernel_of_ones_own_can_have_a_script(archive: list[str], script: Path) -> None:
    config = parse({"kernel": "/boot/vmlinux", "initrd": {"script": script}})
    kernel, initrd = prepare(config)
    assert kernel == "/boot/vmlinux"
    assert initrd is not None
    assert archive == ["busybox"]


@pytest.mark.usefixtures("archive")
def test_the_compressed_image_is_there_for_those_who_ask(kernel: Kernel) -> None:
    assert prepare(parse({"kernel": "debian:6.12/vmlinuz"})) == (str(kernel.vmlinuz), None)


def test_a_script_that_is_none_is_told_before_anything_is_fetched(
    archive: list[str], tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\0")
    (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"\n")
    os.mkfifo(tmp_path / "fifo")
    for name, told in (
        ("missing", r"reading the guest's script .*missing: open: ENOENT"),
        ("binary", "is no text for a shell; check initrd.script"),
        ("large", "is no text for a shell; check initrd.script"),
        ("fifo", "is no regular file; check initrd.script"),
        (".", "is no regular file; check initrd.script"),
    ):
        config = parse({"kernel": "debian:6.12", "initrd": {"script": tmp_path / name}})
        with pytest.raises(UnreadableScript, match=told):
            prepare(config)
    assert archive == []


@pytest.mark.usefixtures("archive")
def test_a_module_that_there_is_none_of() -> None:
    config = parse({"kernel": "debian:6.12", "initrd": {"modules": ["nmve"]}})
    with pytest.raises(DebianError, match="no module nmve, which the config's initrd needs; did y"):
        prepare(config)


def test_what_cant_be_fetched_is_told(archive: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object) -> Package:
        raise NoSuchPackage("it ended")

    monkeypatch.setattr(kernel_packages, "look_up_kernel", look_up)
    with pytest.raises(NoSuchPackage, match="it ended"):
        prepare(parse({"kernel": "debian:6.12"}))


def test_what_is_there_is_found_without_what_fetches_it(
    archive: list[str], cache: Cache, script: Path
) -> None:
    """All of apt, and pathlib too, which take longer to import than a VM takes to start."""
    keys = {"kernel": "debian:6.12", "initrd": {"modules": ["nvme"], "script": str(script)}}
    prepare(parse(keys))
    program = f"""
import sys
from pyvmm.config import parse
config = parse({keys!r})
for name in [*sys.modules]:
    if name in ("pathlib", "re", "typing") or name.startswith("pyvmm.debian"):
        del sys.modules[name]
from pyvmm.linux.images import prepare
prepare(config)
late = "pathlib re typing subprocess shutil tempfile pyvmm.debian.apt pyvmm.debian.modules"
print(sorted(set(late.split()) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_has_what_it_says() -> None:
    for name in linux.__all__:
        assert getattr(linux, name).__name__ == name
