# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Settings: how thorough a run is."""

from __future__ import annotations

from typing import NamedTuple

_QUICK_ROUNDS = 7
_QUICK_SHARE = 5


class Settings(NamedTuple):
    """quick: a few rounds of everything, to see that it works."""

    quick: bool = False

    def rounds(self, full: int) -> int:
        return min(full, _QUICK_ROUNDS) if self.quick else full

    def seconds(self, full: float) -> float:
        return full / _QUICK_SHARE if self.quick else full
