# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""EscapeKeys: which keys are the guest's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.machine.keys import HELP, QUIT, SHOW_HELP, EscapeKeys


@pytest.mark.parametrize(
    ("typed", "for_guest", "commands"),
    [
        (b"", b"", []),
        (b"ls x\r\x03\x1a", b"ls x\r\x03\x1a", []),
        (b"ab\x01x", b"ab", [QUIT]),
        (b"ab\x01Xcd\x01h", b"ab", [QUIT]),
        (b"a\x01hb\x01Hc", b"abc", [SHOW_HELP, SHOW_HELP]),
        (b"\x01\x01x", b"\x01x", []),
        (b"\x01\x01\x01x", b"\x01", [QUIT]),
        (b"\x01ls", b"\x01ls", []),
        (b"a\x01", b"a", []),
    ],
)
def test_split(typed: bytes, for_guest: bytes, commands: list[str]) -> None:
    assert EscapeKeys().split(typed) == (for_guest, commands)


@given(st.lists(st.binary(max_size=5) | st.text("\x01xhA\x01", max_size=6).map(str.encode)))
def test_it_does_not_matter_how_the_keys_arrive(pieces: list[bytes]) -> None:
    whole = EscapeKeys().split(b"".join(pieces))
    keys = EscapeKeys()
    for_guest, commands = b"", list[str]()
    for piece in pieces:
        more, new = keys.split(piece)
        for_guest += more
        commands += new
        if QUIT in new:
            break
    assert (for_guest, commands) == whole


@given(st.binary())
def test_escaping_ctrl_a_brings_all_bytes_to_the_guest(data: bytes) -> None:
    assert EscapeKeys().split(data.replace(b"\x01", b"\x01\x01")) == (data, [])


def test_the_help_names_each_key() -> None:
    for key in ("Ctrl-A X", "Ctrl-A H", "Ctrl-A Ctrl-A"):
        assert key in HELP
