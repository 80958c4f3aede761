# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm serve``: a device model for any vfio-user client."""

from __future__ import annotations

import signal
import threading

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import FrameType
