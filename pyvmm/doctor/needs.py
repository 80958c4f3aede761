# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Need: something of the host's that is lost with some of its PCI functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Need(NamedTuple):
    """What the host loses if each leg loses a function; a leg is a set of PCI addresses.

    A root disk has one leg, with its controller and the bridges above. A bond of two interfaces
    has two, and does without either.
    """

    what: str
    """What a function does for the host, as in "0000:01:00.0 holds the root file system"."""
    legs: tuple[frozenset[str], ...]

    def lost_with(self, taken: Iterable[str]) -> frozenset[str]:
        """Those of the taken functions whose loss this is; none if it is not lost."""
        gone = frozenset(taken)
        if self.legs and all(leg & gone for leg in self.legs):
            return gone.intersection(frozenset().union(*self.legs))
        return frozenset()
