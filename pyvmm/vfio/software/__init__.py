# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DMA by software: how a device that is a program, in whichever process, reaches memory."""

from __future__ import annotations

from .dma_table import DmaTable

__all__ = ["DmaTable"]
