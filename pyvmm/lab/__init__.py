# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A PC with IOMMU, VFIO and KVM on any host: QEMU in software, on the host's own files."""

from __future__ import annotations
