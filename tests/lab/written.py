# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""written(): something else in one of the kernel's files, for as long as a test needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written(path: Path, value: int | str) -> Iterator[None]:
    """What was in the file is there again afterwards, whatever happens."""
    before = path.read_text()
    path.write_text(str(value))
    try:
        assert path.read_text().strip() == str(value)
        yield
    finally:
        path.write_text(before)
