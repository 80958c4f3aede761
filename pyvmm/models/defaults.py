# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What models' options are if nobody says otherwise, and the values that they may have."""

from __future__ import annotations

DRIVE_SIZE = 64 << 20  # bytes of a drive, or a namespace, that is in no file
BLOCK_SIZE = 512
BLOCK_SIZES = (512, 4096)
SERIAL_LENGTH = 20  # characters, of an NVMe drive's and a virtio drive's alike
EDU_DMA_MASK = 0x0FFFFFFF  # QEMU's, of 28 bits
