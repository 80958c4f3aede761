# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command `python -m tools.assigned_reference > docs/assigned.md`."""

from __future__ import annotations

import sys

from tools.assigned_reference import render

sys.stdout.write(render())
