# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI: the bus and the host bridge, and the guest's view of one VFIO device."""
