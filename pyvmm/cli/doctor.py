# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm doctor``: what stops device assignment on this host, and the cure."""

from __future__ import annotations

from . import exit_codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def command(options: argparse.Namespace) -> int:
    from pyvmm.doctor import examine

    findings = examine()
    if options.json:
        import json

        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    fit = all(finding.ok or not finding.needed for finding in findings)
    return exit_codes.OK if fit else exit_codes.HOST_DEVICE
