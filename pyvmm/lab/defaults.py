# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a lab is like when nothing else is said. Imports nothing: the command line's help has it."""

from __future__ import annotations

DEFAULT_KERNEL = "6.12"

IOMMUS = ("intel", "amd", "none")
DEFAULT_IOMMU = "intel"

DEVICE_KINDS = (
    *("nvme", "e1000e", "igb", "edu", "virtio-net", "virtio-blk", "virtio-rng"),
    *("xhci", "ahci", "pci-testdev"),
)
"""The devices that a lab knows: KINDS in devices.py has what they are."""

DEFAULT_CPUS = 1

DEFAULT_MEMORY = 1 << 30
"""Bytes."""
DISK_SIZE = 16 << 20
"""Bytes of a device's disk."""
