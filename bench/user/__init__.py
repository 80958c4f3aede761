# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What devices in other processes cost: vfio-user's round trips, DMA, and a whole drive."""
