# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Devices behind root ports, driven by guests that know nothing of it, and by one that does."""

from __future__ import annotations

import re

import pytest

from pyvmm.machine import End
from pyvmm.machine.monitor import Monitor
from pyvmm.uapi.pci_regs import PCI_CAP_ID_EXP, PCI_EXP_DEVCTL
from pyvmm.vfio.pci_capabilities import capabilities
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm


def lines_of(make: MakeMachine, guest: str, **keys: object) -> list[str]:
    vm = make(guest, **keys)
    vm.start()
    outcome = vm.wait(2 * LIMIT)
    assert outcome is not None
    lines = vm.console.text.splitlines()
    assert (outcome.end, outcome.code) == (End.EXIT, 0), [line for line in lines if "FAIL" in line]
    return lines


@pytest.mark.parametrize("process", [False, True], ids=["inline", "process"])
@pytest.mark.parametrize("guest", ["edu", pytest.param("testdev", marks=pytest.mark.proof)])
def test_a_driver_finds_all_as_on_bus_0(make: MakeMachine, guest: str, process: bool) -> None:
    """BARs are moved in these, interrupts come by pin and by message, DMA goes both ways."""
    reports = [
        lines_of(
            make, guest, devices=[{"model": guest, "process": process, "root_port": root_port}]
        )
        for root_port in (False, True)
    ]
    integrated = "  ok   it is an integrated endpoint"  # what there is on bus 0
    assert [line.replace(integrated, "  ok   it is an endpoint") for line in reports[0]] == reports[
        1
    ]


def test_the_monitor_lists_what_is_behind_them(make: MakeMachine) -> None:
    vm = make("hello", devices=[{"model": "testdev", "slot": "05.0", "root_port": True}])
    vm.build()
    answer = Monitor(vm).execute("devices").splitlines()
    port = answer.index("00:05.0 root port 1")
    assert answer[port + 1].endswith(" testdev, a model in this process")
    assert answer[port + 2].startswith("    BAR 0: ")


def test_the_bus_is_the_guests(make: MakeMachine) -> None:
    devices = [
        {"model": "testdev", "slot": "05.0", "root_port": True},
        {"model": "edu", "slot": "05.1", "root_port": True},
        {"model": "edu"},
        {"model": "edu", "slot": "03.0", "root_port": True},
    ]
    lines = lines_of(make, "lspci", cmdline="bridges", devices=devices)
    found = [line[:17] for line in lines if re.match(r"\d\d:\d\d\.\d ", line)]
    assert found == [
        "00:00.0 8086:29c0",
        "00:01.0 1234:11e8",
        "00:03.0 8086:3420",
        "01:00.0 1234:11e8",
        "00:05.0 8086:3420",
        "02:00.0 1234:7e57",
        "02:00.1 1234:11e8",
    ]
    ends = ("has been reset", "its memory is back with the window", "is back")
    for device in ("01:00.0", "02:00.0"):
        assert all(any(device in line and line.endswith(end) for line in lines) for end in ends)


def test_interrupts_are_where_the_ports_are(make: MakeMachine) -> None:
    """ACPI's table has bus 0 alone: a guest reckons the rest, and the line register agrees."""
    vm = make("hello", devices=[{"model": "edu", "slot": at, "root_port": True} for at in (2, 3)])
    vm.build()
    lines = [plugged.function.config_read(0x3C, 2) for plugged in vm.devices]
    assert lines == [0x100 | 16 + 2, 0x100 | 16 + 3]


def test_after_a_reset_port_and_device_have_the_same_payload(make: MakeMachine) -> None:
    """As they had it in the beginning: a guest that boots again has nothing to mend."""
    vm = make("hello", devices=[{"model": "testdev", "root_port": True}])
    vm.build()
    (plugged,), (port,) = vm.devices, vm.hardware.bus.bridges
    functions = [plugged.function, port]
    controls = [
        next(c.offset for c in capabilities(f.config_read) if c.id == PCI_CAP_ID_EXP)
        + PCI_EXP_DEVCTL
        for f in functions
    ]

    def read() -> list[int]:
        return [f.config_read(at, 2) for f, at in zip(functions, controls, strict=True)]

    before = read()
    for function, at in zip(functions, controls, strict=True):
        function.config_write(at, 2, 0x2F)
    assert read() == [0x2F, 0x2F]
    vm.hardware.reset()
    assert read() == before
