# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``python -m bench``: measure, and print one table."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from pyvmm.kvm import KvmError, System

from . import build, exits, irqfd, lab, mapped, memory, prealloc, startup, vmms
from .errors import BenchError, Skipped
from .measure import Row
from .settings import Settings
from .table import Table
from .user import section as user

ON_KVM = {
    "startup": startup.rows,
    "prealloc": prealloc.rows,
    "exits": exits.rows,
    "irqfd": irqfd.rows,
    "memory": memory.rows,
    "mapped": mapped.rows,
}
IN_PROCESSES = {"user": user.rows}
IN_LAB = {"lab": lab.rows}
SECTIONS = ON_KVM | IN_PROCESSES | IN_LAB
_LIMIT = 1200
"""Seconds for a row. Everything has limits of its own; this is for what hangs in spite of them."""

_BUSY = 0.7


def main() -> int:
    options = _options()
    faulthandler.dump_traceback_later(_LIMIT, exit=True)
    sections = options.only or list(SECTIONS)
    if any(name in ON_KVM for name in sections):
        missing = _missing_for_kvm()
        if missing:
            _say(f"error: {missing}")
            return 1
    if not vmms.has_qemu():
        _say(f"no {vmms.QEMU}: apt-get install qemu-system-x86")
    load = os.getloadavg()[0]
    if load > _BUSY:
        _say(f"this machine is busy (load {load:.1f}): expect noise")
    rows: dict[str, list[Row]] = {}
    failed = False
    for name in sections:
        rows[name] = []
        start = monotonic()
        try:
            for row in SECTIONS[name](Settings(options.quick)):
                rows[name].append(row)
                _say(f"{row.title}: {monotonic() - start:.0f} s")
                faulthandler.dump_traceback_later(_LIMIT, exit=True)
                start = monotonic()
        except Skipped as reason:
            _say(f"skipped: {name}: {reason}")
        except BenchError as error:
            _say(f"error: {name}: {error}")
            failed = True
    tables = _tables(rows)
    for table in tables:
        table.show()
    if options.json is not None:
        data = [row for table in tables for row in table.data()]
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    return int(failed)


def _missing_for_kvm() -> str:
    """What it takes to run VMs here, and isn't there; "" if all is."""
    for image in (build.FIRST_BYTE, build.STORM):
        if not image.exists():
            return f"there is no {image}: make guests"
    try:
        System().close()
    except KvmError as error:
        return str(error)
    return ""


def _tables(rows: Mapping[str, Sequence[Row]]) -> list[Table]:
    """For the VMMs on this machine, for devices in other processes, and for what is the lab's."""
    vmm_names = [name for name in vmms.CONTENDERS if name != vmms.PYVMM]
    tables = []
    for sections, others in (
        (ON_KVM, vmm_names),
        (IN_PROCESSES, user.OTHERS),
        (IN_LAB, lab.OTHERS),
    ):
        found = [row for name in sections for row in rows.get(name, ())]
        if found:
            tables.append(Table(vmms.PYVMM, others, found))
    return tables


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure pyvmm beside QEMU, the kernel's drivers, and bare C.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds of each, within a minute"
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
