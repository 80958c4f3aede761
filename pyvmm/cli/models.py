# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm models``: the device models there are."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def command(_options: argparse.Namespace) -> int:
    from pyvmm.models import MODELS

    width = max(map(len, MODELS))
    for name, entry in MODELS.items():
        print(f"{name:<{width}}  {entry.description}")
        for option in entry.options:
            print(f"{'':<{width}}    {option.name}: {option.description}; default: {option.shown}")
    return 0
