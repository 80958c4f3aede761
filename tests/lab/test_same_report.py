# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Test guests give the same report for QEMU's edu, by the kernel's VFIO, as for our model of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.config import parse
from pyvmm.machine import Machine
from tests.lab.machines import LIMIT
from tests.lab.test_machine import quieten

pytestmark = pytest.mark.proof

MODEL: dict[str, object] = {"model": "edu", "options": {"dma_mask": 0x0FFFFFFF}}
"""QEMU's reaches as far."""


def report(guests: Path, guest: str, device: dict[str, object]) -> list[str]:
    keys = {"kernel": str(guests / f"{guest}.elf"), "devices": [device], "timeout": LIMIT}
    with Machine(parse(keys)) as vm:
        vm.start()
        outcome = vm.wait()
        assert outcome is not None
        assert outcome.ok, (outcome, vm.console.text)
        return vm.console.text.splitlines()


@pytest.mark.parametrize("guest", ["edu", "lspci"])
@pytest.mark.backends("type1v2", "iommufd")
def test_the_same_report(
    guest: str, backend: str, guests: Path, on_its_backend: None, lab_device: Callable[[str], str]
) -> None:
    edu = lab_device("edu")
    quieten(edu)
    expected = report(guests, guest, MODEL)
    assert report(guests, guest, {"host": edu}) == expected
