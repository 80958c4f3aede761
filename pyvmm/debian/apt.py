# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian packages without root: apt with a configuration, lists and a cache of its own.

The system's proxies and credentials stay in force; its sources, preferences, hooks and lists are
neither read nor touched. Signatures are checked with the keyring of the Debian archive, whatever
the system trusts. Packages are unpacked, never installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DebianError, NoSuchPackage, Unreachable
from .process_group import process_group
from .sources import find_mirror, stanzas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .cache import Cache
    from .progress import Progress

KEYRINGS = tuple(
    Path("/usr/share/keyrings", f"debian-archive-keyring.{kind}") for kind in ("gpg", "pgp")
)
DPKG_STATUS = Path("/var/lib/dpkg/status")

_CONFIGURATION = """\
Dir::Etc::sourcelist "{folder}/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::lists "lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "{folder}/log";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures "amd64";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::GzipIndexes "true";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
_SOURCES = """\
Types: deb
URIs: {uris}
Suites: {suites}
Components: main
Architectures: amd64
Targets: Packages
Signed-By: {keyring}
"""
_NETWORK = re.compile(
    r"resolv|connect|network is unreachable|timed? ?out|connection|temporary failure", re.I
)
_NOT_SIGNED = re.compile(r"NO_PUBKEY|not signed|GPG error|signatures? (?:couldn't|were)", re.I)


class Apt:
    """The packages of some suites of the system's Debian mirror. Hold the cache's lock meanwhile.

    installed is the dpkg status against which dependencies count as there: none are, by default.
    """

    def __init__(self, cache: Cache, suites: Sequence[str], *, installed: str = "") -> None:
        """Write the configuration. Raises DebianError if the host lacks what it takes."""
        require_apt()
        keyring = next(path for path in KEYRINGS if path.exists())
        self.suites = tuple(suites)
        self._mirror = find_mirror()
        self._updated = False
        folder = cache.folder / "apt" / "+".join(suites)
        for part in ("state/lists/partial", "cache/archives/partial", "log"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text(installed)
        (folder / "debian.sources").write_text(
            _SOURCES.format(
                uris=" ".join(self._mirror.uris), suites=" ".join(suites), keyring=keyring
            )
        )
        self._configuration = folder / "apt.conf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder))

    def show(self, package: str, progress: Progress) -> dict[str, str]:
        """The fields of the newest version of a package. Raises NoSuchPackage, Unreachable."""
        self._update(progress)
        status, text, _ = self._run(["apt-cache", "show", "--no-all-versions", package])
        fields = next(stanzas(text), None)
        if status or fields is None or fields.get("package") != package:
            raise NoSuchPackage(
                f"{package} is in none of {', '.join(self.suites)} of the system's Debian mirror",
                "have apt use a mirror that has it, or set PYVMM_DEBIAN_MIRROR to one's address",
            )
        return fields

    def missing(self, package: str, progress: Progress) -> list[str]:
        """package and what it depends on and is not installed, as NAME=VERSION.

        The last suite's packages are preferred. Raises DebianError if they don't fit together.
        """
        self._update(progress)
        status, text, errors = self._run(
            ["apt-get", "install", "--simulate", "-t", self.suites[-1], package]
        )
        if status:
            raise DebianError(
                f"resolving what {package} of {self.suites[-1]} needs: apt-get: {errors}"
            )
        found = re.findall(r"^Inst (\S+) (?:\[[^\]]*\] )?\((\S+) ", text, re.M)
        return [f"{name}={version}" for name, version in found]

    def download(self, packages: Sequence[str], into: Path, progress: Progress) -> list[Path]:
        """Fetch packages (NAME or NAME=VERSION). Raises NoSuchPackage, Unreachable, DebianError."""
        self._update(progress)
        what = packages[0].partition("=")[0]
        if len(packages) > 1:
            what += f" and {len(packages) - 1} more"

        def tell(percent: str) -> None:
            progress(f"fetching {what}: {percent} %")

        status, _, errors = self._run(["apt-get", "download", *packages], into, tell)
        if status:
            raise self._failure(f"fetching {what}", errors)
        return sorted(into.glob("*.deb"))

    def _update(self, progress: Progress) -> None:
        if self._updated:
            return
        names = ", ".join(self.suites)
        progress(f"reading what Debian's {names} has")
        status, _, errors = self._run(["apt-get", "update"])
        if status:
            raise self._failure(f"reading what Debian's {names} has", errors)
        self._updated = True

    def _failure(self, doing: str, errors: str) -> DebianError:
        text = f"{doing}: apt-get: {errors}"
        if "No space left" in errors or "enough free space" in errors:
            return DebianError(text, "make room, or set XDG_CACHE_HOME to where there is")
        if _NOT_SIGNED.search(errors):
            return DebianError(text, "a newer debian-archive-keyring may know the key")
        if _NETWORK.search(errors):
            return Unreachable(text, "check the network and apt's proxy settings, and try again")
        return NoSuchPackage(text, "have apt use a mirror that has it, or try again")

    def _run(
        self,
        command: Sequence[str],
        folder: Path | None = None,
        tell: Callable[[str], object] = str,
    ) -> tuple[int, str, str]:
        """Exit status, standard output, and what was said of errors, with no address in it."""
        program, action, *rest = command
        reader, writer = os.pipe()
        options = ["-c", str(self._configuration), "-o", f"APT::Status-Fd={writer}"]
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        environment.pop("APT_CONFIG", None)
        with (
            os.fdopen(reader) as status,
            tempfile.TemporaryFile("w+") as output,
            tempfile.TemporaryFile("w+") as errors,
            process_group() as group,
        ):
            try:
                process = subprocess.Popen(
                    [program, "-q", *options, action, *rest],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    pass_fds=(writer,),
                    process_group=group,
                )
            finally:
                os.close(writer)
            told = ""
            try:
                for line in status:
                    percent = _percent(line)
                    if percent and percent != told:
                        tell(percent)
                        told = percent
                process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
            output.seek(0)
            errors.seek(0)
            return process.returncode, output.read(), self._summary(errors.read())

    def _summary(self, errors: str) -> str:
        lines = [line[2:].strip() for line in errors.splitlines() if line.startswith("E:")]
        lines = [line for line in lines if not line.startswith("Some index files failed")]
        text = " ".join(dict.fromkeys(lines)) or errors.strip() or "no reason was given"
        return self._mirror.redact(text)[:600]


def _percent(line: str) -> str:
    """What of a download is done, if that is what a line of apt's status tells."""
    fields = line.split(":")
    return fields[2].partition(".")[0] if fields[0] == "dlstatus" and len(fields) > 2 else ""


def require_apt() -> str:
    """What there is. Raises DebianError if the host lacks what fetching takes."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DebianError(
                f"fetching Debian packages: there is no {tool} here",
                "install the packages apt, dpkg and debian-archive-keyring (other distributions "
                "have them too), or copy pyvmm's cache from another machine",
            )
    if not any(path.exists() for path in KEYRINGS):
        raise DebianError(
            f"fetching Debian packages: {KEYRINGS[0]} is missing, which proves them genuine",
            "install the package debian-archive-keyring",
        )
    return "there, with Debian's keyring"


def unpack(packages: Sequence[Path], into: Path) -> None:
    """Unpack packages, one over the other, and delete them. Raises DebianError."""
    for package in packages:
        with process_group() as group:
            done = subprocess.run(
                ["dpkg-deb", "--extract", package, into],
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                process_group=group,
            )
        if done.returncode:
            cure = "try again"
            if "No space left" in done.stderr:
                cure = "make room, or set XDG_CACHE_HOME to where there is"
            said = done.stderr.strip().partition("\n")[0]  # tar says it of each file
            raise DebianError(f"unpacking {package.name}: {said}", cure)
        with suppress(FileNotFoundError):
            package.unlink()
