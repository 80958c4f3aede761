# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Guest images: what they are, where they go in guest RAM, and how a guest starts in them."""

from __future__ import annotations

from .errors import (
    AddressTaken,
    BadCommandLine,
    BootError,
    DoesNotFit,
    MalformedImage,
    NotAGuestImage,
    UnreadableImage,
)
from .image import ImageFile
from .load import load_firmware, load_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .load import Entry

__all__ = [
    "AddressTaken",
    "BadCommandLine",
    "BootError",
    "DoesNotFit",
    "Entry",
    "ImageFile",
    "MalformedImage",
    "NotAGuestImage",
    "UnreadableImage",
    "load_firmware",
    "load_kernel",
]
