# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm devices``: the PCI devices of this host, and whether they can be assigned."""

from __future__ import annotations

from .table import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def command(options: argparse.Namespace) -> int:
    from pyvmm.vfio.host import HEADINGS, HostFunction, functions, remedies, reports

    chosen = [HostFunction(address) for address in options.address] or functions()
    found = reports(chosen)
    if options.json:
        import json

        print(json.dumps([report.json() for report in found], indent=2))
    else:
        show(HEADINGS, [report.cells() for report in found])
        cures = remedies(found)
        if cures:
            print('\nWhat can be done about a "no":')
            for cure in cures:
                print(f"  {cure}")
    return 0
