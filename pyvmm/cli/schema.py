# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm schema``: the JSON Schema of VM configs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def command(_options: argparse.Namespace) -> int:
    import json

    from pyvmm.config import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
