# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI devices as their drivers see them: configuration space, BARs, interrupts, DMA."""
