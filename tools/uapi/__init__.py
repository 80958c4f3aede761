# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Generates pyvmm/uapi from one pinned set of kernel UAPI headers."""
