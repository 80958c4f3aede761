# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Capability: one entry of a capability chain, as a window with named registers."""

from __future__ import annotations

from typing import NamedTuple

from .capability_names import CAPABILITY_NAMES, EXTENDED_CAPABILITY_NAMES
from .registers import RegisterMap
from .window import Window


class Place(NamedTuple):
    """Where a capability is in a configuration space, and up to where the next one isn't."""

    window: Window
    extended: bool
    id: int
    version: int
    offset: int
    end: int


class Capability(RegisterMap):
    """A capability; the offsets of its registers count from its own start.

    It ends where the next one begins, so that none of its registers is another's.
    """

    id: int
    offset: int
    """in configuration space"""
    extended: bool
    """It is in the extended part, whose ids are others."""
    version: int
    """of an extended one; 0 for others, which have it in a register if at all"""

    def __init__(self, place: Place) -> None:
        super().__init__(place.window, place.offset, place.end - place.offset)
        self.id = place.id
        self.offset = place.offset
        self.extended = place.extended
        self.version = place.version
        names = EXTENDED_CAPABILITY_NAMES if place.extended else CAPABILITY_NAMES
        self.name = names.get(place.id, f"unknown {place.id:#04x}")

    def __repr__(self) -> str:
        where = "extended capability" if self.extended else "capability"
        return f"<{where} {self.id:#04x} at {self.offset:#x}: {self.name}>"
