# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which parts of a region a guest reaches directly, and which of its accesses are trapped.

Pure functions over intervals: bytes from the region's start, page-granular, because a page of a
guest's address space is either mapped or it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pyvmm.memory.layout import PAGE_SIZE
from pyvmm.vfio.intervals import (
    Interval,
    Intervals,
    align_inwards,
    align_outwards,
    gaps,
    intersect,
    subtract,
)


class Areas(NamedTuple):
    """A region cut in two; together they are all of it, and they have nothing in common."""

    mapped: Intervals
    trapped: Intervals


def split(
    size: int,
    mappable: Iterable[Interval],
    emulated: Iterable[Interval] = (),
    tapped: Iterable[Interval] = (),
) -> Areas:
    """Cut a region of size bytes.

    Mapped is what the device lets us map (mappable), in whole pages, less every page that has
    a byte of what we answer ourselves (emulated: the MSI-X table, the PBA) or of what somebody
    asked to see (tapped). All else is trapped.
    """
    region = Interval(0, size)
    held = align_outwards((*emulated, *tapped), PAGE_SIZE)
    pages = align_inwards(intersect(mappable, (region,)), PAGE_SIZE)
    mapped = subtract(pages, held)
    return Areas(mapped, gaps(region, mapped))
