# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PhysicalMemory: what its system calls refuse is told, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyvmm.vfio import DeviceError
from pyvmm.vfio.kernel import physical
from pyvmm.vfio.kernel.physical import PhysicalMemory
from tests.unit.vfio.fakes import open_files


@contextmanager
def nothing_left() -> Iterator[None]:
    files = open_files()
    yield
    assert open_files() == files


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_no_descriptors_for_the_pipe() -> None:
    # One is enough for the memory.
    raised = pytest.raises(DeviceError, match="pipe2")
    with nothing_left(), no_more_descriptors(), raised as caught:
        PhysicalMemory(4096)
    assert caught.value.errno == errno.EMFILE
    assert "ulimit -n" in caught.value.cure


def test_no_page_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(physical, "_PAGEMAP", "/proc/self/no-page-map")
    with nothing_left(), pytest.raises(DeviceError, match="no-page-map") as caught:
        PhysicalMemory(4096)
    assert caught.value.errno == errno.ENOENT
    assert "CONFIG_PROC_PAGE_MONITOR" in caught.value.cure
