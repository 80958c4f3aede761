# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""survive(): what a served device raises where nobody can be answered must not end the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import VfioError


@contextlib.contextmanager
def survive(doing: str) -> Iterator[None]:
    """Go on after an error: a refusal says enough by itself, anything else is logged."""
    try:
        yield
    except VfioError:
        pass
    except Exception:
        import logging

        logging.getLogger(__name__).exception("%s", doing)
