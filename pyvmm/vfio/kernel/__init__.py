# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's VFIO: PCI devices of this host, behind type1 containers, iommufd or no IOMMU."""
