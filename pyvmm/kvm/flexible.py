# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernel structures that end in an array whose length only the caller knows."""

from __future__ import annotations

from ctypes import sizeof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array, Structure
    from typing import TypeVar

    Header = TypeVar("Header", bound=Structure)
    Element = TypeVar("Element", bound=Structure)


def flexible(
    header: type[Header], element: type[Element], count: int
) -> tuple[Header, Array[Element]]:
    """A zeroed header with count elements behind it, as two views of the same memory."""
    memory = bytearray(sizeof(header) + count * sizeof(element))
    elements = (element * count).from_buffer(memory, sizeof(header))
    return header.from_buffer(memory), elements
