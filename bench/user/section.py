# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The rows of this part, and who is in their columns; the first ones need neither KVM nor lab."""

from __future__ import annotations

from collections.abc import Iterator

from .. import vmms
from ..in_lab.model_drive import IOEVENTFD
from ..measure import Row
from ..settings import Settings
from . import dma, drive, round_trips

OTHERS = (round_trips.PYTHON, round_trips.C, dma.MEMCPY, IOEVENTFD, vmms.Q35)


def rows(settings: Settings) -> Iterator[Row]:
    """Raises Skipped, after what is measured on the host, if there is no lab to be had."""
    yield from round_trips.rows(settings)
    yield from dma.rows(settings)
    yield from drive.rows(settings)
