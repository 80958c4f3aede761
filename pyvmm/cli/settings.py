# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""KEY=VALUE arguments."""

from __future__ import annotations

import argparse


def pair(text: str) -> tuple[str, str]:
    """Split KEY=VALUE, for argparse's type=."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
