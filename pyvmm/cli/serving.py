# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What is served at the moment, on a terminal: a table by rich that changes, if rich is there.

Elsewhere there is nothing of it: what has to be told is told in lines.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.live import Live
    from rich.table import Table

    from pyvmm.models import Model
    from pyvmm.vfio.user import Server

_STDERR = 2
_SHOW_CURSOR = b"\x1b[?25h"
_PER_SECOND = 2


class Status:
    """A context manager: the table is there meanwhile. Servers are by what to call them."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._live: Live | None = None
        self._before: dict[str, int] = {}
        self._looked = time.monotonic()

    def __enter__(self) -> Status:
        if sys.stderr is not None and sys.stderr.isatty():
            with suppress(ImportError):
                from rich.console import Console
                from rich.live import Live

                self._live = Live(
                    get_renderable=self._table,
                    console=Console(stderr=True),
                    refresh_per_second=_PER_SECOND,
                    transient=True,
                )
                self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    @property
    def shown(self) -> bool:
        return self._live is not None

    def say(self, text: str) -> None:
        """A line of pyvmm's own, above the table. From any thread."""
        if self._live:
            self._live.console.print(f"pyvmm: {text}", markup=False, highlight=False)
        else:
            say(text)

    def restore(self) -> None:
        """What is left to do when there is no time to end in order."""
        if self._live:
            with suppress(OSError):
                os.write(_STDERR, _SHOW_CURSOR)

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        passed, self._looked = max(now - self._looked, 0.001), now
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("served", "client", "reads", "writes", "others", "per second"):
            table.add_column(
                heading, justify="left" if heading in ("served", "client") else "right"
            )
        for name, server in self._servers.items():
            found = server.statistics
            total = found.reads + found.writes + found.others
            rate, self._before[name] = (total - self._before.get(name, 0)) / passed, total
            client = f"the {ordinal(found.clients)}" if found.connected else "none"
            numbers = found.reads, found.writes, found.others, round(rate)
            table.add_row(Text(name), client, *(f"{number:,}" for number in numbers))
        return table


def summary(name: str, server: Server, device: Model) -> Iterator[str]:
    """Lines on all that a server has served, and on what of it was odd."""
    from .._counted import counted

    found = server.statistics
    things = {
        "client": found.clients,
        "read": found.reads,
        "write": found.writes,
        "other": found.others,
    }
    yield f"{name}: {', '.join(counted(number, thing) for thing, number in things.items())}"
    for what, count in {**device.figures(), **device.counters}.items():
        if count:
            yield f"{name}: {what}: {count}"


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
