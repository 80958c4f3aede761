# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Times to wait, as poll(2) takes them."""

from __future__ import annotations

_LONGEST = (1 << 31) - 1  # milliseconds, in an int of C: 24.8 days


def poll_timeout(seconds: float | None) -> float | None:
    """The timeout in milliseconds, as long as can be if it is longer; None is for ever."""
    return None if seconds is None else min(seconds * 1000, _LONGEST)
