# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a served device raises must not end the server: it is logged, and life goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import VfioError


def log_failure(what: str) -> None:
    """Log the exception that is being handled.

    Late import: most processes never log a word. One that serves has it loaded all the same
    (server.py), since nothing can be once a client has used up our descriptors; in others the
    failure then goes untold, rather than be followed by another.
    """
    with contextlib.suppress(OSError, ImportError):
        import logging

        logging.getLogger(__name__).exception("%s", what)


@contextlib.contextmanager
def survive(doing: str) -> Iterator[None]:
    """Go on after an error: a refusal says enough by itself, anything else is logged."""
    try:
        yield
    except VfioError:
        pass
    except Exception:
        log_failure(doing)
