# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Properties are tested without a limit of time for each example: other processes take theirs."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
