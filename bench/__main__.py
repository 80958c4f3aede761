# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``python -m bench``: measure, and print one table."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
from pathlib import Path
from time import monotonic

from pyvmm.kvm import KvmError, System

from . import build, exits, irqfd, mapped, memory, startup, vmms
from .errors import BenchError
from .measure import Row
from .settings import Settings
from .table import Table

SECTIONS = {
    "startup": startup.rows,
    "exits": exits.rows,
    "irqfd": irqfd.rows,
    "memory": memory.rows,
    "mapped": mapped.rows,
}
_LIMIT = 600
"""Seconds. Everything has limits of its own; this is for what hangs in spite of them."""

_BUSY = 0.7


def main() -> int:
    options = _options()
    faulthandler.dump_traceback_later(_LIMIT, exit=True)
    for image in (build.FIRST_BYTE, build.STORM):
        if not image.exists():
            print(f"bench: error: there is no {image}: make guests", file=sys.stderr)
            return 1
    try:
        System().close()
    except KvmError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    if not vmms.has_qemu():
        print(f"bench: no {vmms.QEMU}: apt-get install qemu-system-x86", file=sys.stderr)
    load = os.getloadavg()[0]
    if load > _BUSY:
        print(f"bench: this machine is busy (load {load:.1f}): expect noise", file=sys.stderr)
    settings = Settings(options.quick)
    rows: list[Row] = []
    failed = False
    for name in options.only or SECTIONS:
        start = monotonic()
        try:
            for row in SECTIONS[name](settings):
                rows.append(row)
                print(f"bench: {row.title}: {monotonic() - start:.0f} s", file=sys.stderr)
                start = monotonic()
        except BenchError as error:
            print(f"bench: error: {name}: {error}", file=sys.stderr)
            failed = True
    table = Table(vmms.PYVMM, [name for name in vmms.CONTENDERS if name != vmms.PYVMM], rows)
    table.show()
    if options.json is not None:
        options.json.write_text(json.dumps(table.data(), indent=1) + "\n")
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure pyvmm beside QEMU and a bare loop in C."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds of each, within half a minute"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=SECTIONS,
        metavar="NAME",
        help=f"only this part ({', '.join(SECTIONS)}); may be given more than once",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
