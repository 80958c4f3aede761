# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""IntervalMap beside a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio import Interval
from pyvmm.vfio.interval_map import IntervalMap

END = 40
intervals = st.builds(Interval.sized, st.integers(0, END), st.integers(1, 12))


@given(st.lists(st.tuples(st.booleans(), intervals), max_size=40), intervals)
def test_as_a_dictionary(steps: list[tuple[bool, Interval]], probe: Interval) -> None:
    map: IntervalMap[int] = IntervalMap()
    model: dict[Interval, int] = {}
    for number, (adds, interval) in enumerate(steps):
        first = next((i for i in sorted(model) if i.overlaps(interval)), None)
        assert map.overlapping(interval) == first
        if not adds:
            assert map.pop(interval) == model.pop(interval, None)
        elif first is None:
            map.add(interval, number)
            model[interval] = number
    assert map.intervals == tuple(sorted(model))
    assert list(map) == [model[i] for i in sorted(model)]
    assert len(map) == len(model)
    assert map.get(probe) == model.get(probe)
    for address in range(END + 14):
        found = [value for i, value in model.items() if i.start <= address < i.end]
        assert map.at(address) == (found[0] if found else None)
    map.clear()
    assert not len(map)
    assert map.intervals == ()
