# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A made-up host for each test."""

from __future__ import annotations

from tests.unit.vfio.host.conftest import host

__all__ = ["host"]
