# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Finding: one thing that was looked at, for `pyvmm doctor` and `pyvmm lab check`."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that is needed, or of use: if it isn't ok, cure says how to get it."""

    subject: str
    ok: bool
    text: str
    cure: str = ""
    needed: bool = True
    """Whether nothing goes without it; others only take something away."""

    def __str__(self) -> str:
        state = "ok" if self.ok else "missing" if self.needed else "without"
        cure = f"; {self.cure}" if self.cure else ""
        return f"{self.subject + ':':<15} {state + ':':<8} {self.text}{cure}"
