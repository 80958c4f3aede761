# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Doorbells: without an exit to us where the device offers that, and as well where it doesn't."""

from __future__ import annotations

import pytest

from pyvmm.models import Model
from pyvmm.vfio.user import Client
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm


def failed(make: MakeMachine, *, process: bool, cmdline: str) -> list[str]:
    """The checks about doorbells, of which there are two, that don't hold in the guest."""
    device = {"model": "testdev", "process": process}
    vm = make("testdev", cmdline=cmdline, devices=[device])
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    lines = vm.console.text.splitlines()
    start = lines.index("doorbell:") + 1
    first, second = lines[start : start + 2]
    assert not [line for line in lines if "FAIL" in line and line not in (first, second, lines[-1])]
    return [line for line in (first, second) if "FAIL" in line]


@pytest.fixture
def no_ioeventfds(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Model, Client):
        monkeypatch.setattr(kind, "ioeventfds", lambda _device, _index: ())


def test_the_guest_sees_that_none_traps(make: MakeMachine) -> None:
    assert failed(make, process=False, cmdline="doorbell=traps") == [
        "  FAIL each time it trapped: got 0x0, expected 0x14"
    ]


@pytest.mark.usefixtures("no_ioeventfds")
def test_the_guest_sees_that_each_traps(make: MakeMachine) -> None:
    assert failed(make, process=False, cmdline="") == [
        "  FAIL none of that trapped: got 0x14, expected 0x0"
    ]


@pytest.mark.usefixtures("no_ioeventfds")
@pytest.mark.parametrize("process", [False, True])
def test_without_ioeventfds_each_is_heard(make: MakeMachine, process: bool) -> None:
    assert failed(make, process=process, cmdline="doorbell=traps") == []
