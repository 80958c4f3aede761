# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A folder whose path is short enough for UNIX sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sockets() -> Iterator[Path]:
    """An empty folder for sockets; pytest's own may be too deep for them."""
    with tempfile.TemporaryDirectory(prefix="pyvmm-") as folder:
        yield Path(folder)
