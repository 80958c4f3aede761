# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices that can be assigned."""

from __future__ import annotations

from collections import Counter

from pyvmm.vfio.host import functions

from .._finding import Finding
from .report import reports
from .verdicts import Answer

_SUBJECT = "devices"


def check(root: str) -> Finding:
    """Whether this host has any that a guest can have: that is what the other checks are about."""
    verdicts = [report.verdict for report in reports(functions(root=root), root=root)]
    found = Counter(v.answer if v.for_guests else Answer.NO for v in verdicts)
    now, later, never = (found[answer] for answer in (Answer.NOW, Answer.LATER, Answer.NO))
    text = f"{now} can be assigned now, {later} after something is done, {never} not"
    others = sum(not v.for_guests for v in verdicts)
    if others:
        text += f" ({others} of them serve drivers in user space)"
    return Finding(_SUBJECT, bool(now or later), text, "`pyvmm devices` tells of each")
