# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Time limits of calls that wait together: in order, and never more than what is outstanding."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from pyvmm.vfio.user.pending_calls import Call, PendingCalls

# What is sent, with its time limit in seconds; or which of those that wait is answered.
events = st.lists(
    st.one_of(st.floats(0.1, 60), st.integers(0, 5)),
    max_size=60,
)


@given(events)
def test_limits(events: list[float | int]) -> None:
    pending = PendingCalls()
    waiting: dict[int, Call] = {}
    for number, event in enumerate(events):
        if isinstance(event, float):
            call = waiting[number] = Call(8, 1, event, time.monotonic())
            told = pending.add(number, call)
            assert told == pending.deadline(call)
        elif event < len(waiting):
            id = list(waiting)[event]
            del waiting[id]
            pending.remove(id)
            pending.remove(id)
            assert id not in pending
        now = time.monotonic()
        before = 0.0
        outstanding = 0.0
        for id, call in waiting.items():
            assert pending.get(id) is call
            outstanding += call.timeout
            deadline = pending.deadline(call)
            assert before < deadline <= now + outstanding
            assert abs(deadline - before - call.timeout) < 1e-6 or not before
            before = deadline
        behind = pending.deadline_behind(now, 1.0)
        assert abs(behind - (before or now) - 1.0) < 1e-6


def test_the_first_has_its_time_from_when_it_is_that() -> None:
    pending = PendingCalls()
    first, second = Call(8, 1, 5.0, 100.0), Call(8, 2, 7.0, 101.0)
    assert pending.add(1, first) == 105.0
    assert pending.add(2, second) == 112.0
    before = time.monotonic()
    pending.remove(1)
    assert before + 7.0 <= pending.deadline(second) <= time.monotonic() + 7.0
    pending.remove(2)
    assert pending.deadline_behind(100.0, 2.0) == 102.0
