# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""QEMU for the lab: one that is named, the host's, or one of Debian's, unpacked and not installed.

An unpacked one runs with the host's libraries and with those of its dependencies that the host
lacks, unpacked beside it, all by way of the dynamic loader: even one that needs a newer C library.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyvmm.debian.apt import DPKG_STATUS, Apt, unpack
from pyvmm.debian.errors import DebianError, NoSuchPackage, Unreachable

from .errors import LabError
from .host import host_release
from .requirements import OLDEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyvmm.debian.cache import Cache
    from pyvmm.debian.progress import Progress

QEMU_VARIABLE = "PYVMM_QEMU"
PROGRAM = "qemu-system-x86_64"

# Debian's, by the suites that have them. The first row of which the host is an installation costs
# least, for it has most of the libraries.
EMULATORS = {
    "7.2": (("bookworm",),),
    "10.0": (("bookworm", "bookworm-backports"), ("trixie",)),
    "newest": (("trixie", "trixie-backports"), ("sid",)),
}

_NAMES = f"one of {', '.join(EMULATORS)}, host"

_PACKAGE = "qemu-system-x86"
_LOADER = "ld-linux-x86-64.so.2"
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_PARTS = ("lib64", "usr/lib64", *_LIBRARIES, *_FIRMWARE, f"usr/bin/{PROGRAM}")
# What of the host doesn't count as there: it may be of another version.
_NEVER_THE_HOSTS = re.compile(r"qemu-|seabios|ipxe-qemu")


class Emulator(NamedTuple):
    """How to run QEMU: command, then arguments; environment is to be added to one's own."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    version: tuple[int, int, int]
    unpacked: bool

    def __str__(self) -> str:
        version = ".".join(map(str, self.version))
        return f"QEMU {version} ({'fetched' if self.unpacked else self.command[0]})"


def find_emulator(
    cache: Cache, name: str | None, since: tuple[int, int] = OLDEST
) -> Emulator | None:
    """QEMU by name: a key of EMULATORS, "host", or a command; None if that is still to be fetched.

    Without a name it is $PYVMM_QEMU's, or else the host's if that is of the version since or
    newer. Raises LabError if a named one can't be run.
    """
    said = f"--qemu {name}" if name else f"{QEMU_VARIABLE}={os.environ.get(QEMU_VARIABLE, '')}"
    name = name or os.environ.get(QEMU_VARIABLE)
    if name in EMULATORS:
        folder = cache.find("qemu", name)
        return None if folder is None else _unpacked(folder)
    if name is not None and name != "host":
        return _installed(name, said)
    if shutil.which(PROGRAM) is not None:
        host = _installed(PROGRAM, PROGRAM)
        if host.version >= max(since, OLDEST):
            return host
        if name == "host":
            raise LabError(
                f"{host} is too old; this lab needs {'.'.join(map(str, since))} or newer",
                "leave the choice to the lab: `pyvmm lab setup` unpacks a newer one",
            )
    if name == "host":
        raise LabError(f"there is no {PROGRAM} on this host", "apt install qemu-system-x86")
    folder = cache.find("qemu", _chosen(since))
    return None if folder is None else _unpacked(folder)


def fetch_emulator(
    cache: Cache, name: str | None, progress: Progress, since: tuple[int, int] = OLDEST
) -> Emulator:
    """Unpack one of EMULATORS into the cache; hold its lock. Raises DebianError, LabError.

    Without a name it is one of the version since or newer.
    """
    name = name or os.environ.get(QEMU_VARIABLE)
    if name not in EMULATORS:
        name = _chosen(since)
    failures: list[DebianError | LabError] = []
    host = host_release()
    for suites in sorted(EMULATORS[name], key=lambda suites: suites[0] != host):
        try:
            return _fetch(cache, name, suites, progress)
        except Unreachable:
            raise
        except (DebianError, LabError) as failure:
            failures.append(failure)
            progress(f"not that of {suites[0]}: {failure}")
    raise failures[0]


def _chosen(since: tuple[int, int]) -> str:
    """Which of EMULATORS to take where none is named and the host's won't do."""
    return "10.0" if since <= (10, 0) else "newest"


def _fetch(cache: Cache, name: str, suites: Sequence[str], progress: Progress) -> Emulator:
    installed = host_packages() if host_release() else ""
    apt = Apt(cache, suites, installed=installed)
    packages = apt.missing(_PACKAGE, progress)
    version = next((package.partition("=")[2] for package in packages if _is_qemu(package)), "")
    if not version:
        raise NoSuchPackage(f"{_PACKAGE} is not in {', '.join(suites)}")
    with cache.staging() as staged, cache.staging() as whole, cache.staging() as debs:
        fetched = apt.download(packages, debs, progress)
        progress(f"unpacking QEMU {version}")
        unpack(fetched, whole)
        for part in _PARTS:
            if (whole / part).exists():
                (staged / part).parent.mkdir(parents=True, exist_ok=True)
                (whole / part).rename(staged / part)
        emulator = _unpacked(staged)
        return _unpacked(cache.publish(staged, "qemu", name, version), emulator.version)


def host_packages() -> str:
    """The host's dpkg status, without what is to be unpacked whatever the host has."""
    try:
        status = DPKG_STATUS.read_text(errors="replace")
    except OSError:
        return ""
    return "".join(
        f"{text}\n\n"
        for text in status.split("\n\n")
        if (found := re.search(r"^Package: (\S+)", text, re.M))
        and not _NEVER_THE_HOSTS.match(found[1])
    )


def _is_qemu(package: str) -> bool:
    return package.partition("=")[0] == _PACKAGE


def _unpacked(folder: Path, version: tuple[int, int, int] | None = None) -> Emulator:
    loader = _loader(folder)
    libraries = ":".join(str(folder / part) for part in _LIBRARIES)
    firmware = [folder / part for part in _FIRMWARE]
    command = [str(loader), "--library-path", libraries, str(folder / "usr/bin" / PROGRAM)]
    for part in firmware:
        command += ["-L", str(part)]
    environment = {"QEMU_MODULE_DIR": str(folder / _LIBRARIES[0] / "qemu")}
    version = version or _version(command, environment, str(folder))
    return Emulator(tuple(command), environment, version, unpacked=True)


def _loader(folder: Path) -> Path:
    """The one of the C library that is unpacked there; the host's, if that is its."""
    for part in ("usr/lib64", "lib64", *_LIBRARIES):
        path = folder / part / _LOADER
        # Some packages' lead to where it will be once installed, which is the host's.
        if path.exists() and path.resolve().is_relative_to(folder.resolve()):
            return path
    return Path("/lib64") / _LOADER


def _installed(name: str, said: str) -> Emulator:
    """said is how the caller or the environment has named it, for messages."""
    program, *options = _words(name, said)
    path = shutil.which(program)
    if path is None and os.path.dirname(program):
        raise LabError(f"{said}: there is no such program", f"name a {PROGRAM}, or {_NAMES}")
    if path is None:
        raise LabError(f"{said}: neither a path nor {_NAMES}", f"name one of them, or a {PROGRAM}")
    command = (path, *options)
    return Emulator(command, {}, _version(command, {}, path), unpacked=False)


def _words(name: str, said: str) -> list[str]:
    try:
        words = shlex.split(name)
    except ValueError as error:
        raise LabError(f"{said}: {error}", "write it as for a shell") from None
    if not words or not words[0]:
        raise LabError(f"{said}: it names no QEMU", f"name {_NAMES}, or a path")
    return words


def _version(
    command: Sequence[str], environment: Mapping[str, str], name: str
) -> tuple[int, int, int]:
    try:
        done = subprocess.run(
            [*command, "--version"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"running {name} --version: {error}", "name another QEMU") from None
    found = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    if done.returncode < 0:
        raise LabError(
            f"{name} --version was ended by signal {-done.returncode} "
            f"({signal.strsignal(-done.returncode)})",
            "it doesn't go with this host; name another QEMU",
        )
    if done.returncode or found is None:
        said, *_ = [*(done.stderr or done.stdout).strip()[:300].splitlines(), "nothing"]
        raise LabError(f"{name} --version is no QEMU's: {said}", "name another QEMU")
    major, minor, micro = found.groups(default="0")
    return int(major), int(minor), int(micro)
