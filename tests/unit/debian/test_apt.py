# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is asked of apt and dpkg, and how their failures are told; the programs are made up."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyvmm.debian import apt as apt_module
from pyvmm.debian.apt import Apt, require_apt, unpack
from pyvmm.debian.errors import DebianError, NoSuchPackage, Unreachable
from pyvmm.debian.sources import MIRROR_VARIABLE

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache

    from .conftest import MakeProgram

MIRROR = "http://user:token@mirror.example/debian"


def silent(_: str) -> None:
    pass


@pytest.fixture
def apt(
    cache: Cache, program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Apt]:
    for name in ("apt-get", "apt-cache", "dpkg-deb"):
        program(name, "")
    keyring = tmp_path / "keyring.gpg"
    keyring.write_text("")
    monkeypatch.setattr(apt_module, "KEYRINGS", (keyring,))
    monkeypatch.setenv(MIRROR_VARIABLE, MIRROR)
    with cache.locked(silent):
        yield Apt(cache, ["trixie", "trixie-backports"], installed="Package: there\n")


def failing(stderr: str, action: str = "download") -> str:
    """An apt-get whose action fails; what comes before its name are options."""
    fail = f"printf %s {shlex.quote(stderr)} >&2; exit 100"
    return f'case "$* " in *" {action} "*) {fail};; esac'


def test_configuration_and_sources_are_private_and_genuine(apt: Apt, cache: Cache) -> None:
    folder = cache.folder / "apt" / "trixie+trixie-backports"
    sources = (folder / "debian.sources").read_text()
    assert f"URIs: {MIRROR}\nSuites: trixie trixie-backports\n" in sources
    assert "Signed-By: /" in sources
    assert (folder / "status").read_text() == "Package: there\n"
    configuration = (folder / "apt.conf").read_text()
    for setting in ("Etc::sourceparts", "Etc::preferences", "State", "Cache", "Log"):
        assert f'Dir::{setting} "' in configuration
    assert "#clear APT::Update::Post-Invoke;" in configuration
    assert cache.folder.stat().st_mode & 0o077 == 0  # the mirror's address may hold a token


def test_the_fields_of_a_package(apt: Apt, program: MakeProgram) -> None:
    program("apt-cache", "printf 'Package: linux\nVersion: 1:2\nDepends: a,\n b\n\n'")
    assert apt.show("linux", silent) == {
        "package": "linux",
        "version": "1:2",
        "depends": "a,\nb",
    }
    with pytest.raises(NoSuchPackage, match="other is in none of trixie, trixie-backports"):
        apt.show("other", silent)


def test_what_is_missing(apt: Apt, program: MakeProgram) -> None:
    lines = [
        "Reading package lists...",
        "Inst libnew (2.0-1 Debian:13/stable [amd64])",
        "Inst libold [1.0] (1:1.1~bpo+1 Debian Backports:trixie-backports [amd64]) []",
        "Conf libnew (2.0-1 Debian:13/stable [amd64])",
    ]
    program("apt-get", "printf '%s\n' " + " ".join(map(shlex.quote, lines)))
    assert apt.missing("qemu", silent) == ["libnew=2.0-1", "libold=1:1.1~bpo+1"]


def test_packages_are_downloaded_and_progress_is_told(
    apt: Apt, program: MakeProgram, tmp_path: Path
) -> None:
    program(
        "apt-get",
        'fd=${5#APT::Status-Fd=}; [ "$6" = download ] || exit 0\n'
        'for part in 0.5 50 100; do echo "dlstatus:1:$part:Retrieving" >/dev/fd/$fd; done\n'
        'echo "noise" >&2; echo >"${7%%=*}.deb"',
    )
    told: list[str] = []
    assert apt.download(["linux=1", "other"], tmp_path, told.append) == [tmp_path / "linux.deb"]
    assert told[-2:] == ["fetching linux and 1 more: 50 %", "fetching linux and 1 more: 100 %"]


@pytest.mark.parametrize(
    ("stderr", "kind", "cure"),
    [
        ("E: Failed to fetch http://mirror.example/x  Could not resolve 'mirror.example'\n",
         Unreachable, "network"),
        ("E: Write error - write (28: No space left on device)\n", DebianError, "make room"),
        ("E: You don't have enough free space in /c.\n", DebianError, "make room"),
        ("W: GPG error: http://mirror.example sid InRelease: NO_PUBKEY 1\n"
         "E: The repository 'http://mirror.example sid InRelease' is not signed.\n",
         DebianError, "keyring"),
        ("E: The repository 'http://mirror.example sid Release' does not have a Release file.\n",
         NoSuchPackage, "mirror"),
        ("E: Unable to locate package linux\n", NoSuchPackage, "mirror"),
        ("", DebianError, "mirror"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("action", ["update", "download"])
def test_failures_are_told_with_a_cure_and_no_address(
    apt: Apt,
    program: MakeProgram,
    tmp_path: Path,
    stderr: str,
    kind: type[DebianError],
    cure: str,
    action: str,
) -> None:
    program("apt-get", failing(stderr, action))
    with pytest.raises(kind) as failure:
        apt.download(["linux"], tmp_path, silent)
    assert cure in failure.value.cure
    assert "mirror.example" not in str(failure.value)


def test_what_doesnt_fit_together_is_told(apt: Apt, program: MakeProgram) -> None:
    program("apt-get", failing("E: Unable to correct problems, you have held broken packages.\n",
                               "install"))  # fmt: skip
    with pytest.raises(DebianError, match="qemu of trixie-backports needs: apt-get: Unable to "):
        apt.missing("qemu", silent)


def test_packages_that_are_unpacked_are_deleted(program: MakeProgram, tmp_path: Path) -> None:
    program("dpkg-deb", '[ "$1" = --extract ] && cp "$2" "$3/contents"')
    package = tmp_path / "a.deb"
    package.write_text("a")
    into = tmp_path / "into"
    into.mkdir()
    unpack([package], into)
    assert (into / "contents").read_text() == "a"
    assert not package.exists()


@pytest.mark.parametrize(
    ("said", "cure"), [("No space left on device", "make room"), ("corrupt", "try again")]
)
def test_packages_that_cant_be_unpacked_are_told(
    program: MakeProgram, tmp_path: Path, said: str, cure: str
) -> None:
    program("dpkg-deb", f"echo {shlex.quote(said)} >&2; exit 2")
    with pytest.raises(DebianError, match=rf"unpacking a\.deb: {said}; {cure}"):
        unpack([tmp_path / "a.deb"], tmp_path)


@pytest.mark.usefixtures("apt")
def test_a_missing_keyring_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt_module, "KEYRINGS", (tmp_path / "none.gpg",))
    with pytest.raises(DebianError, match="install the package debian-archive-keyring"):
        require_apt()


def test_a_host_without_apt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DebianError, match="no apt-get here; install the packages apt, dpkg"):
        require_apt()
