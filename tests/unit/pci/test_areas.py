# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Cutting a region: by property, page by page, against the definition."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.pci.areas import split
from pyvmm.vfio import Interval

PAGE = 4096
LIMIT = 12 * PAGE


def intervals(page: int = 1) -> st.SearchStrategy[list[Interval]]:
    edge = st.integers(0, LIMIT // page + 2).map(lambda n: n * page)
    near = st.integers(-2, 2)
    some = st.tuples(edge, st.integers(0, 3 * PAGE // page), near).map(
        lambda t: Interval(max(0, t[0] + t[2] * (page == 1)), t[0] + t[1] * page)
    )
    return st.lists(some, max_size=4)


def touched(pages: Iterable[Interval], page: int) -> bool:
    return any(i.start < i.end and i.start < page + PAGE and page < i.end for i in pages)


@given(
    size=st.integers(1, LIMIT),
    mappable=st.one_of(intervals(PAGE), intervals()),
    emulated=intervals(),
    tapped=intervals(),
)
def test_split(
    size: int, mappable: list[Interval], emulated: list[Interval], tapped: list[Interval]
) -> None:
    areas = split(size, mappable, emulated, tapped)
    # Together they are the region, with nothing twice and nothing missing.
    everything = sorted((*areas.mapped, *areas.trapped))
    assert everything[0].start == 0
    assert everything[-1].end == size
    assert all(one.end == two.start for one, two in pairwise(everything))
    # Page by page: mapped exactly if wholly mappable, wholly inside, and nobody else wants it.
    for page in range(0, size, PAGE):
        whole = page + PAGE <= size and all(
            any(i.start <= byte < i.end for i in mappable)
            for byte in {page, page + PAGE - 1}
            | {edge for i in mappable for edge in (i.start, i.end) if page <= edge < page + PAGE}
        )
        wanted = whole and not touched(emulated, page) and not touched(tapped, page)
        is_mapped = any(i.start <= page < i.end for i in areas.mapped)
        assert is_mapped == wanted


def test_the_msix_table_takes_its_page_and_no_more() -> None:
    whole = Interval(0, 0x10000)
    areas = split(0x10000, [whole], [Interval(0x2800, 0x2C00), Interval(0x2C00, 0x2C08)])
    assert areas.mapped == (Interval(0, 0x2000), Interval(0x3000, 0x10000))
    assert areas.trapped == (Interval(0x2000, 0x3000),)


def test_nothing_mappable_is_all_trapped() -> None:
    assert split(0x100, []) == ((), (Interval(0, 0x100),))


def test_less_than_a_page_is_trapped() -> None:
    assert split(0x100, [Interval(0, 0x100)]).mapped == ()
