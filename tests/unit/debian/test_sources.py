# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Apt sources in both formats, and that no address of a mirror is ever told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.debian.errors import DebianError
from pyvmm.debian.sources import (
    MIRROR_VARIABLE,
    Mirror,
    Source,
    find_mirror,
    parse_deb822_sources,
    parse_lines,
    stanzas,
)

if TYPE_CHECKING:
    from pathlib import Path

MAIN = Source(("deb",), ("http://mirror.example/debian",), ("bookworm",), ("main",))

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-+._~", min_size=1, max_size=12)
schemes = st.sampled_from(["http", "https", "file", "tor+http", "mirror+file"])
uris = st.builds(
    lambda scheme, host, path: f"{scheme}://{host}.example/{path}", schemes, words, words
)
options = st.lists(st.builds("{}={}".format, words, words), max_size=3)
spaces = st.sampled_from([" ", "  ", "\t"])


@pytest.fixture(autouse=True)
def _no_mirror_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


@given(
    kind=st.sampled_from(["deb", "deb-src"]),
    options=options,
    uri=uris,
    suite=words,
    components=st.lists(words, max_size=3),
    space=spaces,
    comment=st.sampled_from(["", " # why", "#"]),
)
def test_a_line(
    kind: str,
    options: list[str],
    uri: str,
    suite: str,
    components: list[str],
    space: str,
    comment: str,
) -> None:
    bracket = [f"[{space.join(options)}]"] if options else []
    line = space.join([kind, *bracket, uri, suite, *components]) + comment
    expected = Source((kind,), (uri,), (suite,), tuple(components))
    assert list(parse_lines(f"# a comment\n\n{line}\n")) == [expected]


@given(
    types=st.lists(st.sampled_from(["deb", "deb-src"]), min_size=1),
    uris=st.lists(uris, min_size=1, max_size=3),
    suites=st.lists(words, min_size=1, max_size=3),
    components=st.lists(words, max_size=3),
    folded=st.booleans(),
    capitals=st.booleans(),
)
def test_a_stanza(
    types: list[str],
    uris: list[str],
    suites: list[str],
    components: list[str],
    folded: bool,
    capitals: bool,
) -> None:
    between = "\n  " if folded else " "
    fields = {"Types": types, "URIs": uris, "Suites": suites, "Components": components}
    text = "".join(
        f"{name.upper() if capitals else name}:{between}{between.join(values)}\n# said aside\n"
        for name, values in fields.items()
    )
    expected = Source(tuple(types), tuple(uris), tuple(suites), tuple(components))
    assert list(parse_deb822_sources(f"{text}\n\n{text}")) == [expected, expected]


@given(st.text())
def test_no_text_upsets_the_parsers(text: str) -> None:
    for source in [*parse_lines(text), *parse_deb822_sources(text)]:
        assert source.uris
        assert source.suites


@pytest.mark.parametrize("no", ["no", "No", "false", "0"])
def test_a_stanza_that_is_switched_off(no: str) -> None:
    text = f"Enabled: {no}\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
    assert list(parse_deb822_sources(text)) == []


def test_stanzas_keep_folded_values() -> None:
    text = "Package: a\nDepends: b,\n c\nnonsense\n\n\nPackage: d"
    assert list(stanzas(text)) == [{"package": "a", "depends": "b,\nc"}, {"package": "d"}]


def test_the_mirror_of_a_deb822_file(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a.list").write_text("deb http://other.example/tool stable-tool main\n")
    (folder / "b.sources").write_text(
        "Types: deb\nURIs: http://security.example/\n"
        "Suites: bookworm-security\nComponents: main\n\n"
        "Types: deb\nURIs: cdrom:[Debian] http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\n"
    )
    (folder / "c.sources.disabled").write_text(
        "Types: deb\nURIs: http://off.example\nSuites: sid\n"
    )
    assert find_mirror(tmp_path) == Mirror(("http://mirror.example/debian",))


def test_the_mirror_of_a_list_file(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian trixie main contrib\n"
    )
    assert find_mirror(tmp_path) == Mirror(("http://mirror.example/debian",))


def test_another_distribution_has_no_mirror_of_debian(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://mirror.example/ubuntu noble main\n")
    with pytest.raises(DebianError, match=MIRROR_VARIABLE):
        find_mirror(tmp_path)


def test_a_mirror_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, "http://named.example/debian")
    assert find_mirror(tmp_path) == Mirror(("http://named.example/debian",))


@given(host=st.from_regex(r"[a-z][a-z0-9]{7,14}\.example", fullmatch=True), token=words)
def test_no_address_is_told(host: str, token: str) -> None:
    uri = f"https://user:{token}secret@{host.upper()}/debian"
    said = (
        f"Failed to fetch {uri}/dists/sid/InRelease  Could not resolve '{host}' [IP: 10.1.2.3 80] "
        f"Could not connect to proxy.example:3128 (10.9.8.7). - connect (111)"
    )
    told = Mirror((uri,)).redact(said)
    for secret in (host, f"{token}secret", "10.1.2.3", "10.9.8.7", "proxy.example"):
        assert secret not in told.lower()
    assert told.startswith("Failed to fetch MIRROR")
