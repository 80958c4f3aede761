# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""EscapeKeys: which keys are the guest's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.machine.keys import HELP, MONITOR, QUIT, SHOW_HELP, EscapeKeys


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (b"", []),
        (b"ls x\r\x03\x1a", [b"ls x\r\x03\x1a"]),
        (b"ab\x01x", [b"ab", QUIT]),
        (b"ab\x01Xcd\x01h", [b"ab", QUIT]),
        (b"a\x01hb\x01Hc", [b"a", SHOW_HELP, b"b", SHOW_HELP, b"c"]),
        (b"a\x01chelp\r\x01Cb", [b"a", MONITOR, b"help\r", MONITOR, b"b"]),
        (b"\x01\x01x", [b"\x01x"]),
        (b"\x01\x01\x01x", [b"\x01", QUIT]),
        (b"\x01ls", [b"\x01ls"]),
        (b"a\x01", [b"a"]),
    ],
)
def test_split(typed: bytes, found: list[bytes | str]) -> None:
    assert EscapeKeys().split(typed) == found


def joined(found: list[bytes | str]) -> list[bytes | str]:
    """With bytes that follow each other made one."""
    result: list[bytes | str] = []
    for one in found:
        last = result[-1] if result else ""
        if isinstance(one, bytes) and isinstance(last, bytes):
            result[-1] = last + one
        else:
            result.append(one)
    return result


@given(st.lists(st.binary(max_size=5) | st.text("\x01xhcA\x01", max_size=6).map(str.encode)))
def test_it_does_not_matter_how_the_keys_arrive(pieces: list[bytes]) -> None:
    whole = EscapeKeys().split(b"".join(pieces))
    keys = EscapeKeys()
    found: list[bytes | str] = []
    for piece in pieces:
        found += keys.split(piece)
        if QUIT in found:
            break
    assert joined(found) == whole


@given(st.binary(min_size=1))
def test_escaping_ctrl_a_brings_all_bytes_to_the_guest(data: bytes) -> None:
    assert EscapeKeys().split(data.replace(b"\x01", b"\x01\x01")) == [data]


def test_the_help_names_each_key() -> None:
    for key in ("Ctrl-A X", "Ctrl-A C", "Ctrl-A H", "Ctrl-A Ctrl-A"):
        assert key in HELP
