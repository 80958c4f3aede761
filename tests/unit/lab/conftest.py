# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the lab is made from is made up as it is for Debian's packages alone."""

from __future__ import annotations

from tests.unit.debian.conftest import MakeProgram, cache, kernel, package, program

__all__ = ["MakeProgram", "cache", "kernel", "package", "program"]
