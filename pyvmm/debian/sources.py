# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where this system gets its Debian packages from, as its apt sources tell.

Both formats of sources.list(5) are read: one line each (`.list`) and deb822 (`.sources`). A
mirror's address may hold a token or a name that is nobody's business: it is never shown.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from .errors import DebianError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIRROR_VARIABLE = "PYVMM_DEBIAN_MIRROR"

_RELEASES = {"bullseye", "bookworm", "trixie", "forky", "duke", "sid"}
_ROLES = {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
_LINE = re.compile(r"(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>\S.*)")


class Source(NamedTuple):
    """One entry: each of its suites is at each of its URIs."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]


class Mirror(NamedTuple):
    """The addresses at which any suite of the Debian archive is found."""

    uris: tuple[str, ...]

    def redact(self, text: str) -> str:
        """text, as apt said it, without any address in it."""
        text = re.sub(r"[a-z][a-z0-9+.-]*:/\S+", "MIRROR", text)
        text = re.sub(r" ?\[IP: [^\]]*\]", "", text)
        # Proxies too have names.
        text = re.sub(r"(resolve|connect to|connection to) \S+", r"\1 MIRROR", text, flags=re.I)
        for uri in self.uris:
            host = urlsplit(uri).hostname
            if host:
                text = re.sub(re.escape(host), "MIRROR", text, flags=re.IGNORECASE)
        return re.sub(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "ADDRESS", text)


def find_mirror(apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror that $PYVMM_DEBIAN_MIRROR names, or else the system's. Raises DebianError."""
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return Mirror((named,))
    for source in read_sources(apt):
        if "deb" in source.types and "main" in source.components:
            suites = [suite for suite in source.suites if _is_plain_debian(suite)]
            uris = tuple(uri for uri in source.uris if not uri.startswith("cdrom:"))
            if suites and uris:
                return Mirror(uris)
    raise DebianError(
        "fetching Debian packages: the system's apt sources name no mirror of Debian",
        f"set {MIRROR_VARIABLE} to the address of one",
    )


def read_sources(apt: Path) -> Iterator[Source]:
    """All entries that are switched on, in the order in which apt reads the files."""
    parts = sorted(path for path in apt.glob("sources.list.d/*") if path.is_file())
    for path in [apt / "sources.list", *parts]:
        try:
            text = path.read_text(errors="replace")
        except OSError:  # none there, or not ours to read: another one may do
            continue
        if path.suffix == ".list":
            yield from parse_lines(text)
        elif path.suffix == ".sources":
            yield from parse_deb822_sources(text)


def parse_lines(text: str) -> Iterator[Source]:
    """The entries of a `.list` file; lines that are none are passed over, as are comments."""
    for line in text.splitlines():
        entry = _LINE.fullmatch(line.partition("#")[0].strip())
        if entry:
            uri, *rest = entry["rest"].split()
            if rest:
                yield Source((entry["type"],), (uri,), (rest[0],), tuple(rest[1:]))


def parse_deb822_sources(text: str) -> Iterator[Source]:
    """The entries of a `.sources` file that are not switched off."""
    for stanza in stanzas(text):
        if stanza.get("enabled", "yes").strip().lower() in ("no", "false", "0", "off", "without"):
            continue
        names = ("types", "uris", "suites", "components")
        source = Source(*(tuple(stanza.get(name, "").split()) for name in names))
        if source.types and source.uris and source.suites:
            yield source


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of a deb822 text (deb822(5)), with the names of fields in lower case."""
    stanza: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, name = {}, ""
        elif line[0] in " \t":
            if name:
                stanza[name] += "\n" + line.strip()
        else:
            name, colon, value = line.partition(":")
            name = name.strip().lower() if colon else ""
            if name:
                stanza[name] = value.strip()
    if stanza:
        yield stanza


def _is_plain_debian(suite: str) -> bool:
    """Of the main archive: security has one of its own."""
    release, _, part = suite.partition("-")
    return release in _RELEASES | _ROLES and part in (
        "",
        "updates",
        "backports",
        "proposed-updates",
    )
