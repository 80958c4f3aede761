# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command `python -m tools.config_reference > docs/config.md`."""

from __future__ import annotations

import sys

from tools.config_reference import render

sys.stdout.write(render())
