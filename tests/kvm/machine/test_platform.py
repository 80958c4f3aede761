# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""How a machine is wired once it is built: its ports, its processors, and its interrupts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from pyvmm.kvm import Vm
from pyvmm.machine import Machine
from pyvmm.memory import layout
from tests.kvm.machine.conftest import MakeMachine

pytestmark = pytest.mark.kvm

MIB = 1 << 20
GIB = 1 << 30

# -- ports ------------------------------------------------------------------------------------


def inb(vm: Machine, port: int) -> int:
    read, _write, offset = vm.ports.lookup(port, 1)
    return read(offset, 1)


def outb(vm: Machine, port: int, value: int) -> None:
    _read, write, offset = vm.ports.lookup(port, 1)
    write(offset, 1, value)


def cmos(vm: Machine, index: int, size: int = 1) -> int:
    """So many bytes of the clock's memory, little-endian."""
    value = 0
    for i in range(size):
        outb(vm, 0x70, index + i)
        value |= inb(vm, 0x71) << 8 * i
    return value


@pytest.mark.parametrize("size", [64 * MIB, 4 * GIB])
def test_the_clock_and_the_memory_it_tells_of(make: MakeMachine, size: int) -> None:
    if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") < size:
        pytest.skip("the host has less memory than this guest")
    vm = make("hello", memory=size)
    vm.build()
    low = min(size, 3 * GIB)
    assert cmos(vm, 0x0D) == 0x80, "valid RAM and time"
    assert cmos(vm, 0x32) == 0x20, "the century"
    assert cmos(vm, 0x34, 2) << 16 == low - 16 * MIB
    assert cmos(vm, 0x5B, 3) << 16 == size - low
    assert vm.ports.unclaimed.reads == 0


def test_the_progress_code_can_be_read_back(make: MakeMachine) -> None:
    vm = make("hello")
    vm.build()
    for code in (0x5A, 0xA5):
        outb(vm, 0x80, code)
        assert inb(vm, 0x80) == code
    assert vm.ports.unclaimed.writes == 0


# -- KVM --------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is called on the Vm, and with what, in order; it is called all the same."""
    calls: list[tuple[Any, ...]] = []

    def record(name: str) -> None:
        method: Callable[..., Any] = getattr(Vm, name)

        def recorded(self: Vm, *args: Any, **options: Any) -> Any:
            calls.append((name, *args))
            return method(self, *args, **options)

        monkeypatch.setattr(Vm, name, recorded)

    for name in (
        *("set_identity_map", "set_tss", "create_irqchip", "create_pit", "create_vcpu"),
        "irqfd",
    ):
        record(name)
    return calls


def test_what_kvm_wants_before_the_first_vcpu(
    make: MakeMachine, calls: list[tuple[Any, ...]]
) -> None:
    """The identity map and the TSS are for Intel processors: others boot without them."""
    make("hello", cpus=2).build()
    *platform, first, second = calls
    assert sorted(platform) == [
        ("create_irqchip",),
        ("create_pit",),
        ("set_identity_map", layout.IDENTITY_MAP_BASE),
        ("set_tss", layout.TSS_BASE),
    ]
    assert (first, second) == (("create_vcpu", 0), ("create_vcpu", 1))


# -- interrupts -------------------------------------------------------------------------------


def table(vm: Machine, address: int) -> bytes:
    size = int.from_bytes(vm.memory.read(address + 4, 4), "little")
    return vm.memory.read(address, size)


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def dsdt(vm: Machine) -> bytes:
    """As a guest finds it: RSDP, XSDT, FADT."""
    xsdt = table(vm, number(vm.memory.read(layout.ACPI_BASE, 36), 24, 8))
    tables = [table(vm, number(xsdt, at, 8)) for at in range(36, len(xsdt), 8)]
    (fadt,) = (found for found in tables if found.startswith(b"FACP"))
    return table(vm, number(fadt, 140, 8))


def package(aml: bytes, at: int) -> tuple[list[Any], int]:
    """The package at that offset, of numbers and packages, and where it ends (ACPI 6.5, 20.2)."""
    assert aml[at] == 0x12
    extra = aml[at + 1] >> 6
    end = at + 1 + (aml[at + 1] & (0x0F if extra else 0x3F))
    for i in range(extra):
        end += aml[at + 2 + i] << 4 + 8 * i
    count, at = aml[at + 2 + extra], at + 3 + extra
    elements: list[Any] = []
    while at < end:
        if aml[at] == 0x12:
            element, at = package(aml, at)
            elements.append(element)
            continue
        size = {0x00: 0, 0x01: 0, 0x0A: 1, 0x0B: 2, 0x0C: 4, 0x0E: 8}[aml[at]]
        elements.append(number(aml, at + 1, size) if size else aml[at])
        at += 1 + size
    assert len(elements) == count
    return elements, end


def routing(vm: Machine) -> dict[tuple[int, int], int]:
    """The _PRT: the GSI of each device number and pin (1 is INTA)."""
    aml = dsdt(vm)
    assert aml.count(b"_PRT") == 1
    entries, _end = package(aml, aml.index(b"_PRT") + 4)
    gsis = {}
    for address, pin, source, gsi in entries:
        assert address & 0xFFFF == 0xFFFF, "any function"
        assert source == 0, "no link device"
        gsis[address >> 16, pin + 1] = gsi
    return gsis


def test_acpi_the_interrupt_line_and_kvm_tell_the_same(
    make: MakeMachine, calls: list[tuple[Any, ...]]
) -> None:
    slots = ["01.0", "02.0", "03.0", "04.0", "04.5", "1f.0"]
    vm = make("hello", devices=[{"model": "edu", "slot": slot} for slot in slots])
    vm.build()
    gsis = routing(vm)
    assert len(gsis) == 32 * 4
    lines = {}
    for plugged in vm.devices:
        function = plugged.function
        device, pin = function.bdf >> 3, function.config_read(0x3D, 1)
        assert pin == 1
        lines[device] = function.config_read(0x3C, 1)
        assert lines[device] == gsis[device, pin], f"device {device}"
    assert set(lines) == {1, 2, 3, 4, 31}
    connected = [call[2] for call in calls if call[0] == "irqfd"]
    assert connected == [plugged.function.config_read(0x3C, 1) for plugged in vm.devices]
    assert len({lines[device] for device in (1, 2, 3, 4)}) == 4, "neighbours share none"
