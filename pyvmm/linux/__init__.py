# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests: what a config's kernel and initrd are as files, fetched and made by themselves."""

from __future__ import annotations

from ..uapi.lazy import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import LinuxError
    from .images import prepare

__all__ = ["LinuxError", "prepare"]

_HOMES = {"LinuxError": "errors", "prepare": "images"}

__getattr__ = attributes(__name__, _HOMES)
