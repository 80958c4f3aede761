# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI addresses: read in one way, wherever people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm.config import notation
from pyvmm.vfio import address


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("0000:01:00.0", "0000:01:00.0"),
        ("01:00.0", "0000:01:00.0"),
        ("10000:e1:1F.7", "10000:e1:1f.7"),
        ("00010000:e1:1f.7", "10000:e1:1f.7"),
        ("00:3f.0", None),
        ("0000:01:00.8", None),
        ("1:00.0", None),
        ("001:01:00.0", None),
        ("0000:01:00.0/", None),
        ("0000:01:00.0\n", None),
        ("", None),
        ("/run/0000:01:00.0", None),
    ],
)
def test_addresses(text: str, full: str | None) -> None:
    assert address.parse(text) == full


@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255))
def test_what_is_written_is_read(domain: int, bus: int, devfn: int) -> None:
    text = address.format(domain, bus, devfn)
    assert address.parse(text) == text


def test_configs_have_the_same_addresses() -> None:
    assert notation.ADDRESS_JSON["anyOf"][0]["pattern"] == f"^{address.PATTERN}$"
