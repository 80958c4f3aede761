# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vfio-user: VFIO devices in other processes, over UNIX sockets."""

from __future__ import annotations

from .dma_table import DmaTable

__all__ = ["DmaTable"]
