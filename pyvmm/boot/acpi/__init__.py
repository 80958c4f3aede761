# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ACPI tables: what the platform is, told to the guest's operating system."""

from __future__ import annotations

from .tables import build

__all__ = ["build"]
