# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-rng: random bytes for the guest, from the host's own generator (section 5.4)."""

from __future__ import annotations

import os

from .pci import VirtioDevice, identity
from .virtqueue import Chain

MOST = 64 << 10  # bytes of one request; a driver with more room gets them and no more


class VirtioRng(VirtioDevice):
    """1af4:1044."""

    identity = identity(4, class_code=0x00FF00)
    queue_sizes = (64,)

    def handle(self, queue: int, chain: Chain) -> int:
        return self.fill_chain(chain, os.urandom(min(chain.room, MOST)))
