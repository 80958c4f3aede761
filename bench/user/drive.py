# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A whole drive in another process, with Linux as its driver: what bench.in_lab measures of it."""

from __future__ import annotations

from collections.abc import Iterator

from .. import lab
from ..measure import Row
from ..settings import Settings

_MEMORY = 2 << 30


def rows(settings: Settings) -> Iterator[Row]:
    """Raises Skipped if there is no lab to be had."""
    lab.prepare_linux()
    with lab.booted("", memory=_MEMORY) as machine:
        yield from lab.measured(machine, "model_drive", settings)
