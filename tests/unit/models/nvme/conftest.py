# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.models.nvme import Nvme

from .driver import Driver, Queue


@pytest.fixture
def drive() -> Iterator[Driver]:
    """A drive of 1 MiB in memory, still off."""
    with Driver(Nvme(size=1 << 20)) as drive:
        yield drive
        assert not [kind for kind in drive.model.counters if kind.endswith("in the model")]


@pytest.fixture
def queue(drive: Driver) -> Queue:
    """Its first I/O queue, the drive being on."""
    return drive.ready()
