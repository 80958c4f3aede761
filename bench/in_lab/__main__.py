# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``python -m bench.in_lab PART``: measure one part, and print its rows for the host to read."""

from __future__ import annotations

import argparse
import json
import os
import sys

from pyvmm.vfio import VfioError

from ..errors import BenchError
from ..settings import Settings
from . import drive, linux, map_dma, model_drive, start

PARTS = {
    "map_dma": map_dma.rows,
    "drive": drive.rows,
    "linux": linux.rows,
    "start": start.rows,
    "model_drive": model_drive.rows,
}


def main() -> int:
    options = _options()
    devices = os.environ["PYVMM_LAB_DEVICES"].split(",")
    drives = [address for kind, _, address in (d.partition("=") for d in devices) if kind == "nvme"]
    try:
        print(json.dumps(list(PARTS[options.part](Settings(options.quick), drives))))
    except (BenchError, VfioError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.in_lab")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
