# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio devices as models, over PCI. Sections that comments name are those of virtio 1.2."""

from __future__ import annotations

from .blk import VirtioBlk
from .console import VirtioConsole
from .pci import VirtioDevice
from .rng import VirtioRng
from .virtqueue import Chain, Virtqueue

__all__ = ["Chain", "VirtioBlk", "VirtioConsole", "VirtioDevice", "VirtioRng", "Virtqueue"]
