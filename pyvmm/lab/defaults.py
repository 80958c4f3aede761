# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What a lab is like when nothing else is said. Imports nothing: the command line's help has it."""

from __future__ import annotations

DEFAULT_KERNEL = "6.12"

IOMMUS = ("intel", "amd", "none")
DEFAULT_IOMMU = "intel"

DEFAULT_CPUS = 1

DEFAULT_MEMORY = 1 << 30
"""Bytes."""
DISK_SIZE = 16 << 20
"""Bytes of a device's disk."""
