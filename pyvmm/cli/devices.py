# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm devices``: the PCI devices of this host, and whether they can be assigned."""

from __future__ import annotations

from .table import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pyvmm.doctor import Report, Verdict

_HEADINGS = ("Address", "Device", "Driver", "Group", "Reset", "Assignable")
_ANSWERS = {"now": "yes", "later": "not yet", "no": "no"}


def command(options: argparse.Namespace) -> int:
    from pyvmm.doctor import remedies, reports
    from pyvmm.vfio.host import HostFunction, PciIds, functions

    chosen = [HostFunction(address) for address in options.address] or functions()
    found = reports(chosen)
    if options.json:
        import json

        print(json.dumps([report.values for report in found], indent=2))
    else:
        show(_HEADINGS, [_cells(report) for report in found])
        cures = remedies(found)
        if cures:
            print('\nWhat can be done about a "no":')
            for cure in cures:
                print(f"  {cure}")
        if found and not PciIds.of_host():
            print("\nFor the devices' names: apt-get install pci.ids")
    return 0


def _cells(report: Report) -> tuple[str, ...]:
    function = report.function
    return (
        function.bdf,
        f"{report.name} [{function.vendor:04x}:{function.device:04x}]",
        function.driver or "-",
        "-" if function.group is None else str(function.group),
        " ".join(function.reset_methods) or "-",
        _assignable(report.verdict),
    )


def _assignable(verdict: Verdict) -> str:
    said = _ANSWERS[verdict.answer.value]
    text = f"{said}: {verdict.reason}" if verdict.reason else said
    # Below the table, each once.
    cures = () if said == "no" else verdict.cures
    return "; ".join((text, *cures, *verdict.notes))
