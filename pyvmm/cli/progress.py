# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What takes its time, on stderr: with rich on a terminal, if it is installed; else as lines."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from pyvmm.debian.progress import step_of, steps

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A callback for what is done next, or how much of it is done: "fetching it: 20 %"."""
    bar = _Bar() if sys.stderr is not None and sys.stderr.isatty() else None
    lines = steps(say)

    def tell(message: str) -> None:
        if bar is None or not bar.tell(*step_of(message)):
            lines(message)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    """A line that changes, from the first message on, and that is gone at the end."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def tell(self, step: str, percent: int | None) -> bool:
        """False if rich isn't there."""
        if self._progress is None:
            try:
                from rich import progress
                from rich.console import Console
            except ImportError:
                return False
            self._progress = progress.Progress(
                progress.SpinnerColumn(),
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=20),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task(step, total=None)
            self._progress.start()
        (task,) = self._progress.task_ids
        self._progress.update(task, description=step)
        # A bar without a total moves to and fro.
        self._progress.update(task, completed=percent or 0)
        self._progress.tasks[0].total = None if percent is None else 100
        return True

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
