# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels, modules and busybox, for those who boot them: fetched, unpacked, kept."""

from __future__ import annotations

from ..uapi.lazy import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cache import Cache
    from .errors import DebianError
    from .kernels import Kernel, find_kernel
    from .names import KERNELS

__all__ = ["KERNELS", "Cache", "DebianError", "Kernel", "find_kernel"]

# Names are checked without what looks them up, and what is in the cache is found without apt.
_HOMES = {
    "KERNELS": "names",
    "Cache": "cache",
    "DebianError": "errors",
    "Kernel": "kernels",
    "find_kernel": "kernels",
}

__getattr__ = attributes(__name__, _HOMES)
