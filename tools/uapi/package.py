# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The pinned Debian package with the kernel headers: found in the cache, or fetched by apt.

apt runs on a configuration of its own in a temporary folder (the system's mirror and proxy, but
none of its lists, hooks or state), so that nothing on the system changes and no root is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PIN = Path(__file__).with_name("pin.toml")
# Where a newer kernel than the stable release's turns up.
SUITES = ("trixie-backports", "forky", "sid", "experimental")

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASES = ("stable", "oldstable", "testing", "unstable", "sid")
_APT_CONF = """\
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Etc "{root}/etc";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
"""


class PackageError(Exception):
    """Something is wrong with the package or its pin."""


class Unavailable(PackageError):
    """The package cannot be had on this machine, or not now. The message ends with the cure."""


class Replaced(Unavailable):
    """The mirror does not have the pinned version, although it can be asked."""


@dataclass(frozen=True)
class Pin:
    """One version of one package, and the checksum of its file."""

    package: str
    suite: str
    version: str
    sha256: str

    @classmethod
    def load(cls) -> Pin:
        """The pin that the repository records."""
        return cls(**tomllib.loads(PIN.read_text()))

    def store(self) -> None:
        """Record this pin, keeping the comment above it."""
        comments = [line for line in PIN.read_text().splitlines() if line.startswith("#")]
        values = [f'{name} = "{value}"' for name, value in vars(self).items()]
        PIN.write_text("\n".join([*comments, *values]) + "\n")


def include_folder(pin: Pin, deb: Path | None = None) -> Path:
    """The package's usr/include, from the cache; else `deb`, or what apt fetches, goes there.

    Raises Unavailable, or PackageError for a file that is not the pinned one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyvmm" / "uapi"
    unpacked = cache / f"{pin.package}_{pin.version}_{pin.sha256[:16]}"
    if not unpacked.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _unpack(pin, deb, Path(folder), unpacked)
        except OSError as error:
            raise Unavailable(
                f"{cache}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
            ) from None
    return unpacked / "usr" / "include"


def pinned_or_newest(pin: Pin) -> tuple[Pin, Path]:
    """Pin and its usr/include; once its version is replaced, the newest there is. Raises as above.

    Debian keeps no old versions of a package: a mirror has the pinned one for some weeks.
    """
    try:
        return pin, include_folder(pin)
    except Replaced:
        pin = newest(pin.package)
        return pin, include_folder(pin)


def _unpack(pin: Pin, deb: Path | None, scratch: Path, unpacked: Path) -> None:
    deb = deb or _Apt(scratch, [pin.suite]).download(pin)
    found = hashlib.sha256(deb.read_bytes()).hexdigest()
    if found != pin.sha256:
        raise PackageError(f"{deb.name} has SHA-256 {found}, but {pin.sha256} is pinned")
    _run(["dpkg-deb", "-x", str(deb), str(scratch / "unpacked")], {})
    try:
        (scratch / "unpacked").rename(unpacked)
    except OSError:
        if not unpacked.is_dir():  # else somebody was quicker, and the result is the same
            raise


def newest(package: str) -> Pin:
    """A pin for the newest version in any of SUITES. Raises Unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        return _Apt(Path(folder), SUITES).newest(package)


class _Apt:
    """apt with its own configuration and lists in `root`, on some suites of Debian."""

    def __init__(self, root: Path, suites: Sequence[str]) -> None:
        self._root = root
        self._environment: dict[str, str] = {}
        mirror = self._mirror()
        system = self._run("apt-config", "dump", "Acquire")
        for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
            (root / folder).mkdir(parents=True)
        (root / "state" / "status").touch()
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        sources = [f"deb {signed}{mirror} {suite} main\n" for suite in suites]
        (root / "etc" / "sources.list").write_text("".join(sources))
        own = _APT_CONF.format(root=root)
        (root / "apt.conf").write_text(system + own)
        self._environment["APT_CONFIG"] = str(root / "apt.conf")
        self._run("apt-get", "-qq", "update")

    def download(self, pin: Pin) -> Path:
        """Fetch the package's file, which apt checks against the signed lists."""
        try:
            self._run("apt-get", "-qq", "download", f"{pin.package}={pin.version}")
        except Unavailable as error:
            raise Replaced(f"{error}; or move the pin: python -m tools.uapi --repin") from None
        (deb,) = self._root.glob("*.deb")
        return deb

    def newest(self, package: str) -> Pin:
        # madison lists the newest version first: "package | version | mirror suite/component ..."
        line = self._run("apt-cache", "madison", package).splitlines()[0]
        _, version, source = (part.strip() for part in line.split("|"))
        suite = source.split()[1].split("/")[0]
        shown = self._run("apt-cache", "show", f"{package}={version}")
        checksum = re.search(r"^SHA256: (\w+)$", shown, re.M)
        if checksum is None:
            raise PackageError(f"apt knows no SHA-256 of {package} {version}")
        return Pin(package, suite, version, checksum[1])

    def _mirror(self) -> str:
        """The mirror that the system's apt takes Debian from."""
        release = Path("/etc/os-release")
        codename = re.search(
            r"^VERSION_CODENAME=(\w+)$", release.read_text() if release.exists() else "", re.M
        )
        uris = self._run("apt-get", "update", "--print-uris")
        for mirror, suite in re.findall(r"'(\S+)/dists/([^/']+)/InRelease'", uris):
            if suite in _RELEASES or (codename and suite == codename[1]):
                return str(mirror)
        raise Unavailable("apt is configured for no Debian release here; " + _CURE)

    def _run(self, *command: str) -> str:
        return _run(command, self._environment, self._root)


_CURE = "get the package elsewhere and give it once: python -m tools.uapi --deb FILE"


def _run(command: Sequence[str], environment: dict[str, str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C", **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not here; {_CURE}") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith(("E:", "dpkg-deb:"))]
        reason = lines[0] if lines else f"exit status {error.returncode}"
        raise Unavailable(f"{' '.join(command)}: {reason}; {_CURE}") from None
    return done.stdout
