# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which QEMU a lab gets, and how one that is unpacked is run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyvmm.debian.apt import Apt
from pyvmm.debian.errors import DebianError, NoSuchPackage, Unreachable
from pyvmm.lab import emulator as emulator_module
from pyvmm.lab.emulator import (
    EMULATORS,
    PROGRAM,
    QEMU_VARIABLE,
    fetch_emulator,
    find_emulator,
    host_packages,
)
from pyvmm.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.progress import Progress

    from .conftest import MakeProgram


def silent(_: str) -> None:
    pass


def version(number: str) -> str:
    return f"echo 'QEMU emulator version {number} (Debian 1:{number}+ds)'"


def test_the_hosts_if_it_is_new_enough(cache: Cache, program: MakeProgram) -> None:
    path = program(PROGRAM, version("7.2.22"))
    found = find_emulator(cache, None)
    assert found == find_emulator(cache, "host")
    assert found == ((str(path),), {}, (7, 2, 22), False)
    assert str(found) == f"QEMU 7.2.22 ({path})"


def test_an_old_one_of_the_hosts_is_left_alone(cache: Cache, program: MakeProgram) -> None:
    program(PROGRAM, version("6.2.0"))
    assert find_emulator(cache, None) is None
    with pytest.raises(LabError, match=r"6\.2\.0 .* too old; this lab needs 7\.2"):
        find_emulator(cache, "host")


def test_a_device_may_need_a_newer_one(cache: Cache, program: MakeProgram) -> None:
    program(PROGRAM, version("7.2.22"))
    assert find_emulator(cache, None, (8, 0)) is None
    with pytest.raises(LabError, match=r"this lab needs 8\.0"):
        find_emulator(cache, "host", (8, 0))
    program(PROGRAM, version("8.0.0"))
    assert find_emulator(cache, None, (8, 0)) is not None


def test_the_one_that_is_named_by_environment(
    cache: Cache, program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(PROGRAM, version("9.0"))
    mine = program("my-qemu", f'[ "$1" = -L ] && {version("11.1.3")}')
    monkeypatch.setenv(QEMU_VARIABLE, f"{mine} -L /firmware")
    assert find_emulator(cache, None) == ((str(mine), "-L", "/firmware"), {}, (11, 1, 3), False)
    monkeypatch.setenv(QEMU_VARIABLE, "10.0")
    assert find_emulator(cache, None) is None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo hello; echo world", "no QEMU's: hello; name another"),
        ("echo broken >&2; exit 1", "no QEMU's: broken; name another"),
        ("exit 1", "no QEMU's: nothing; name another"),
    ],
)
def test_a_named_one_that_is_none_is_told(
    cache: Cache, program: MakeProgram, script: str, told: str
) -> None:
    with pytest.raises(LabError, match=told):
        find_emulator(cache, str(program("not-qemu", script)))


NAMES = r"one of 7\.2, 10\.0, newest, host"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "/nowhere/qemu -L x",
            f"/nowhere/qemu -L x: there is no such program; name a .*, or {NAMES}",
        ),
        ("9.9", rf"9\.9: neither a path nor {NAMES}; name one of them, or"),
    ],
)
def test_a_named_one_that_is_not_there_is_told(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    """As it was named."""
    with pytest.raises(LabError, match=f"^--qemu {told}"):
        find_emulator(cache, name)
    monkeypatch.setenv(QEMU_VARIABLE, name)
    with pytest.raises(LabError, match=f"^{QEMU_VARIABLE}={told}"):
        find_emulator(cache, None)


@pytest.mark.parametrize("name", [" ", "'", "''"])
def test_a_name_that_is_none_is_told(cache: Cache, name: str) -> None:
    with pytest.raises(LabError, match=r"it names no QEMU; name one|No closing quotation; write"):
        find_emulator(cache, name)


class MadeUpApt(Apt):
    """Of one package, with the host's own cat in the place of QEMU."""

    asked: list[tuple[tuple[str, ...], str]]
    failures: list[DebianError]

    def __init__(self, cache: Cache, suites: Sequence[str], *, installed: str = "") -> None:
        self._cache = cache
        self.asked.append((tuple(suites), installed))
        if self.failures:
            raise self.failures.pop(0)

    def missing(self, package: str, progress: Progress) -> list[str]:
        return ["libc6=2.41", f"{package}=1:10.0.2+ds-2", "libnew=1"]

    def download(self, packages: Sequence[str], into: Path, progress: Progress) -> list[Path]:
        return [into / package for package in packages]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUpApt]:
    def unpack(packages: Sequence[Path], into: Path) -> None:
        for name in ("usr/share/qemu/bios.bin", "usr/share/man/qemu.1", "usr/sbin/other"):
            (into / name).parent.mkdir(parents=True)
            (into / name).write_text("")
        for folder, source in (("usr/lib64", LOADER), ("usr/bin", Path("/bin/echo"))):
            (into / folder).mkdir()
            shutil.copy(source, into / folder)
        (into / "usr/bin/echo").rename(into / "usr/bin" / PROGRAM)

    MadeUpApt.asked, MadeUpApt.failures = [], []
    monkeypatch.setattr(emulator_module, "Apt", MadeUpApt)
    monkeypatch.setattr(emulator_module, "unpack", unpack)
    monkeypatch.setattr(emulator_module, "_version", lambda *_: (10, 0, 2))
    monkeypatch.setattr(emulator_module, "host_release", lambda: "trixie")
    monkeypatch.setattr(emulator_module, "host_packages", lambda: "the host's")
    return MadeUpApt


LOADER = Path("/lib64/ld-linux-x86-64.so.2")


@pytest.mark.skipif(not LOADER.exists(), reason="a host with another dynamic loader")
def test_an_unpacked_one_runs_by_its_own_loader(cache: Cache, made_up: type[MadeUpApt]) -> None:
    with cache.locked(silent):
        fetched = fetch_emulator(cache, "10.0", silent)
    assert made_up.asked == [(("trixie",), "the host's")]
    assert fetched == find_emulator(cache, "10.0")
    assert fetched.unpacked
    folder = cache.folder / "qemu/10.0-1_10.0.2+ds-2"
    assert fetched.command[0] == str(folder / "usr/lib64" / LOADER.name)
    done = subprocess.run(
        [*fetched.command, "argument"], capture_output=True, text=True, check=True
    )
    assert f"-L {folder}/usr/share/qemu" in done.stdout
    assert done.stdout.endswith(" argument\n")
    kept = {str(path.relative_to(folder)) for path in folder.glob("usr/*/*")}
    assert kept == {f"usr/lib64/{LOADER.name}", f"usr/bin/{PROGRAM}", "usr/share/qemu"}


@pytest.mark.parametrize("where", ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"])
@pytest.mark.parametrize("link", ["/{}", "../{}"])
def test_a_loader_that_is_a_link(tmp_path: Path, where: str, link: str) -> None:
    """Debian 12's leads out of the folder, to the host's loader, which is of another C library."""
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / LOADER.name).write_text("")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / LOADER.name).symlink_to(link.format(f"{where}/{LOADER.name}"))
    command = emulator_module._unpacked(tmp_path, (7, 2, 0)).command
    assert Path(command[0]).resolve() == (tmp_path / where / LOADER.name).resolve()


def test_the_hosts_loader_for_the_hosts_library(tmp_path: Path) -> None:
    assert emulator_module._unpacked(tmp_path, (7, 2, 0)).command[0] == str(LOADER)


@pytest.mark.skipif(not LOADER.exists(), reason="a host with another dynamic loader")
@pytest.mark.parametrize(
    ("since", "name"), [((7, 2), "10.0"), ((10, 0), "10.0"), ((10, 2), "newest")]
)
def test_the_first_that_is_new_enough_is_fetched_and_found(
    cache: Cache,
    made_up: type[MadeUpApt],
    monkeypatch: pytest.MonkeyPatch,
    since: tuple[int, int],
    name: str,
) -> None:
    monkeypatch.setenv("PATH", "")
    with cache.locked(silent):
        fetched = fetch_emulator(cache, None, silent, since)
    assert find_emulator(cache, None, since) == fetched == find_emulator(cache, name)
    assert [path.name for path in (cache.folder / "qemu").iterdir() if path.is_symlink()] == [name]


def test_suites_that_ended_are_passed_over(cache: Cache, made_up: type[MadeUpApt]) -> None:
    made_up.failures = [NoSuchPackage("it ended")]
    with cache.locked(silent):
        fetch_emulator(cache, "newest", silent)
    assert [suites for suites, _ in made_up.asked] == list(EMULATORS["newest"])


def test_without_network_no_other_suite_is_tried(cache: Cache, made_up: type[MadeUpApt]) -> None:
    made_up.failures = [Unreachable("no network")]
    with cache.locked(silent), pytest.raises(Unreachable):
        fetch_emulator(cache, "newest", silent)
    assert len(made_up.asked) == 1


def test_the_hosts_qemu_does_not_count_as_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nVersion: 2\n\n"
        "Package: qemu-system-x86\nVersion: 7.2\n\nPackage: seabios\nVersion: 1\n\n"
        "Package: libqemu\nVersion: 3\n\n"
    )
    monkeypatch.setattr(emulator_module, "DPKG_STATUS", status)
    assert host_packages() == (
        "Package: libc6\nStatus: install ok installed\nVersion: 2\n\n"
        "Package: libqemu\nVersion: 3\n\n"
    )
    monkeypatch.setattr(emulator_module, "DPKG_STATUS", tmp_path / "none")
    assert host_packages() == ""
