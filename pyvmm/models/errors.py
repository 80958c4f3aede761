# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What can go wrong when a model is made. A working model raises the VFIO layer's errors."""

from __future__ import annotations


class ModelError(Exception):
    """There is no such model, or it can't be made with these options."""
