# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""testdev and edu in this process, as a driver sees them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvmm.models import testdev
from pyvmm.models.edu import Edu
from pyvmm.vfio import PciDevice


@pytest.fixture
def model() -> testdev.TestDevice:
    """What is behind `dev`, which closes it."""
    return testdev.TestDevice("testdev")


@pytest.fixture
def dev(model: testdev.TestDevice) -> Iterator[PciDevice]:
    with PciDevice(model) as dev:
        yield dev


@pytest.fixture
def edu() -> Iterator[PciDevice]:
    with PciDevice(Edu()) as dev:
        yield dev
