# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is told of what takes its time: a line for each step, and for each part that is done."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str], None]
    """Called with what is done next, or with how much of it is done: "fetching it: 20 %"."""

_PERCENT = re.compile(r"(.*): (\d+) %")


def step_of(message: str) -> tuple[str, int | None]:
    """The step that a message to a Progress is about, and how much of it is done in percent."""
    done = _PERCENT.fullmatch(message)
    return (done[1], int(done[2])) if done else (message, None)


def steps(tell: Callable[[str], None]) -> Progress:
    """A Progress that tells of each step once, as it begins."""
    last = ""

    def progress(message: str) -> None:
        nonlocal last
        step, _ = step_of(message)
        if step != last:
            last = step
            tell(step)

    return progress
