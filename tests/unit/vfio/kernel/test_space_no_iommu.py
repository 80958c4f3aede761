# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Memory of a space without an IOMMU ends with its buffer or with the space: what is first."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pyvmm.vfio.buffer import SharedMemory
from pyvmm.vfio.dma import DmaMapping
from pyvmm.vfio.kernel import NoIommuSpace, no_iommu
from tests.unit.vfio.kernel.made_spaces import PAGE
from tests.unit.vfio.kernel.made_vfio import MadeVfio

SHORT = 0.3  # seconds, for what is to wait


class Memory:
    """In place of PhysicalMemory, whose addresses root alone may know."""

    open = 0

    def __init__(self, size: int, huge: str | None = None) -> None:
        memory = SharedMemory(size)
        memory.close_file()
        self.mapping = memory.mapping
        self.address = 0x1000000
        self.closed = False
        Memory.open += 1

    def close(self) -> None:
        Memory.open -= not self.closed
        self.closed = True
        self.mapping.close()


@pytest.fixture
def space(made: MadeVfio, monkeypatch: pytest.MonkeyPatch) -> NoIommuSpace:
    monkeypatch.setattr(no_iommu, "PhysicalMemory", Memory)
    monkeypatch.setattr(Memory, "open", 0)
    return NoIommuSpace(root=made.root)


def test_a_buffer_that_is_closed(space: NoIommuSpace) -> None:
    with space:
        with space.alloc(PAGE) as buffer:
            assert buffer.iova == 0x1000000
            assert Memory.open == 1
        buffer.close()
        assert Memory.open == 0
        assert space.mappings == ()


def test_a_space_that_is_closed(space: NoIommuSpace) -> None:
    with space:
        buffer = space.alloc(PAGE)
    assert Memory.open == 0
    buffer.close()
    assert Memory.open == 0


def test_a_space_that_is_closed_meanwhile(
    space: NoIommuSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, threads = space._add, []

    def slow(mapping: DmaMapping, enter: Callable[[DmaMapping], None]) -> None:
        add(mapping, enter)
        threads.append(threading.Thread(target=space.close))
        threads[0].start()
        threads[0].join(SHORT)

    monkeypatch.setattr(space, "_add", slow)
    space.alloc(PAGE)
    threads[0].join()
    assert Memory.open == 0
