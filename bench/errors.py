# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong in a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """It could not be measured; the message says why."""


class Skipped(BenchError):
    """This machine has not what it takes; the message says what that is."""
