# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What stops device assignment on this host, and the cure; and which devices it needs itself."""

from __future__ import annotations

from ..uapi.lazy import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import DoctorError, NeededByHost
    from .examination import examine
    from .report import Report, remedies, reports
    from .usage import HostUsage
    from .verdicts import Answer, Verdict, assignability, why_not_openable

__all__ = [
    "Answer",
    "DoctorError",
    "HostUsage",
    "NeededByHost",
    "Report",
    "Verdict",
    "assignability",
    "examine",
    "remedies",
    "reports",
    "why_not_openable",
]

_HOMES = {
    **dict.fromkeys(("DoctorError", "NeededByHost"), "errors"),
    **dict.fromkeys(("examine",), "examination"),
    **dict.fromkeys(("Report", "remedies", "reports"), "report"),
    **dict.fromkeys(("HostUsage",), "usage"),
    **dict.fromkeys(("Answer", "Verdict", "assignability", "why_not_openable"), "verdicts"),
}

__getattr__ = attributes(__name__, _HOMES)
