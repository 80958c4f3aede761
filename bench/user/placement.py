# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""On which processors both sides of a conversation are: to wake one there takes most of the time.

Left to the scheduler, it is now one processor and now two, for each contender as it comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Placement(NamedTuple):
    title: str
    asks: int
    answers: int


def placements() -> list[Placement]:
    """Those that this host has processors for."""
    first, *others = sorted(os.sched_getaffinity(0))
    together = Placement("both sides on one processor", first, first)
    return [together, *(Placement("each side on its own", first, other) for other in others[:1])]


@contextmanager
def on(cpu: int) -> Iterator[None]:
    """This thread, and what it starts, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
