# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""counted(): numbers of things, as people write them."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """ "1 group", "2 groups": thing is one, and its plural ends with s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
