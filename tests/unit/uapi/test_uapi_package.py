# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The pinned package: unpacked once into the cache, and only if it is the pinned one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.uapi import package
from tools.uapi.package import (
    PackageError,
    Pin,
    Replaced,
    Unavailable,
    include_folder,
    pinned_or_newest,
)

CURE = "python -m tools.uapi --deb FILE"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pyvmm" / "uapi"


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package with one header."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb: apt-get install dpkg")
    tree = tmp_path / "tree"
    header = tree / "usr" / "include" / "linux" / "one.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define ONE 1\n")
    control = tree / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(
        "Package: headers\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: one\n"
    )
    path = tmp_path / "headers.deb"
    subprocess.run(["dpkg-deb", "-b", tree, path], check=True, capture_output=True)
    return path


def pin_of(deb: Path) -> Pin:
    return Pin("headers", "suite", "1", hashlib.sha256(deb.read_bytes()).hexdigest())


@pytest.fixture
def no_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as PATH, for stand-ins of apt's commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_unpacked_once_and_then_found_in_the_cache(
    cache: Path, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = pin_of(deb)
    include = include_folder(pin, deb)
    assert (include / "linux" / "one.h").read_text() == "#define ONE 1\n"
    assert [path.name for path in cache.iterdir()] == [f"headers_1_{pin.sha256[:16]}"]
    deb.unlink()
    monkeypatch.setenv("PATH", "")
    assert include_folder(pin) == include


def test_a_file_that_is_not_the_pinned_one_is_refused(cache: Path, deb: Path) -> None:
    pin = pin_of(deb)
    deb.write_bytes(deb.read_bytes() + b"\n")
    with pytest.raises(PackageError, match=f"but {pin.sha256} is pinned") as raised:
        include_folder(pin, deb)
    assert not isinstance(raised.value, Unavailable)  # that would let the tests be skipped
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("cache", "no_commands")
def test_without_apt_the_package_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=f"apt-get is not here; .*{CURE}"):
        include_folder(Pin.load())


@pytest.mark.usefixtures("cache")
def test_apt_without_debian_is_told_apart(no_commands: Path) -> None:
    stand_in(no_commands, "apt-get", "echo \"'http://host/ubuntu/dists/noble/InRelease' x 0\"")
    with pytest.raises(Unavailable, match=f"configured for no Debian release here; .*{CURE}"):
        include_folder(Pin.load())


def test_what_apt_says_is_passed_on(cache: Path, no_commands: Path) -> None:
    stand_in(
        no_commands,
        "apt-get",
        """case "$*" in
        *print-uris*) echo "'http://host/debian/dists/sid/InRelease' x 0" ;;
        *download*) echo "W: noise" >&2; echo "E: Version '9' was not found" >&2; exit 100 ;;
        esac""",
    )
    stand_in(no_commands, "apt-config", "")
    with pytest.raises(Replaced, match=f"E: Version '9' was not found; .*{CURE}; .* --repin"):
        include_folder(Pin("headers", "sid", "9", "0"))
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Unavailable, match="Not a directory; set XDG_CACHE_HOME"):
        include_folder(Pin.load())


def test_the_newest_package_of_all_suites_is_found(no_commands: Path) -> None:
    stand_in(no_commands, "apt-get", "echo \"'http://host/debian/dists/stable/InRelease' x 0\"")
    stand_in(no_commands, "apt-config", "")
    stand_in(
        no_commands,
        "apt-cache",
        """case "$*" in
        madison*) echo 'headers | 2~rc1 | http://host/debian experimental/main amd64 Packages'
                  echo 'headers |     1 | http://host/debian sid/main amd64 Packages' ;;
        "show headers=2~rc1") echo Package: headers; echo SHA256: abc ;;
        esac""",
    )
    assert package.newest("headers") == Pin("headers", "experimental", "2~rc1", "abc")


def test_in_place_of_a_replaced_package_there_is_the_newest(
    cache: Path, deb: Path, no_commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = pin_of(deb)
    include = include_folder_with_commands(pin, deb, monkeypatch)
    assert pinned_or_newest(pin) == (pin, include)
    stand_in(
        no_commands,
        "apt-get",
        """case "$*" in
        *print-uris*) echo "'http://host/debian/dists/sid/InRelease' x 0" ;;
        *download*) echo "E: Version '0' was not found" >&2; exit 100 ;;
        esac""",
    )
    stand_in(no_commands, "apt-config", "")
    stand_in(
        no_commands,
        "apt-cache",
        f"""case "$*" in
        madison*) echo 'headers | 1 | http://host/debian suite/main amd64 Packages' ;;
        show*) echo SHA256: {pin.sha256} ;;
        esac""",
    )
    assert pinned_or_newest(Pin("headers", "sid", "0", "abc")) == (pin, include)


@pytest.mark.usefixtures("cache", "no_commands")
def test_where_the_mirror_cannot_be_asked_nothing_newer_is_looked_for() -> None:
    with pytest.raises(Unavailable) as raised:
        pinned_or_newest(Pin.load())
    assert not isinstance(raised.value, Replaced)


def include_folder_with_commands(pin: Pin, deb: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        return include_folder(pin, deb)


def test_a_stored_pin_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "pin.toml"
    copy.write_text(package.PIN.read_text())
    monkeypatch.setattr(package, "PIN", copy)
    pin = Pin("headers", "sid", "2", "abc")
    pin.store()
    assert Pin.load() == pin
    assert copy.read_text().startswith("# The kernel headers that pyvmm/uapi is generated from")
