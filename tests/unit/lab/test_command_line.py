# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab's machine as a command line: what each choice changes in it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from pyvmm.lab.command_line import (
    SLOTS,
    Backing,
    MachineOptions,
    Wiring,
    bridge_id,
    machine_arguments,
    memory_arguments,
    slot_address,
    slot_id,
    wiring_arguments,
)
from pyvmm.lab.defaults import IOMMUS
from pyvmm.lab.errors import LabError

KERNEL, INITRAMFS = Path("/k/vmlinux"), Path("/k/initramfs.cpio")


def arguments(options: MachineOptions, version: tuple[int, ...] = (10, 0)) -> list[str]:
    return list(machine_arguments(options, version, KERNEL, INITRAMFS))


def values(line: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(line) if name == option]


def test_options_come_in_pairs() -> None:
    line = arguments(MachineOptions())
    assert values(line, "-kernel") == [str(KERNEL)]
    assert values(line, "-initrd") == [str(INITRAMFS)]
    assert values(line, "-m") == ["1024M"]
    assert values(line, "-smp") == ["1"]


@pytest.mark.parametrize(
    ("iommu", "device", "parameter"),
    [
        ("intel", "intel-iommu", "intel_iommu=on"),
        ("amd", "amd-iommu", "amd_iommu=on"),
        ("none", None, "iommu=off"),
    ],
)
def test_iommu(iommu: str, device: str | None, parameter: str) -> None:
    line = arguments(MachineOptions(iommu=iommu))
    found = [value for value in values(line, "-device") if "-iommu" in value]
    assert [value.partition(",")[0] for value in found] == ([device] if device else [])
    assert parameter in values(line, "-append")[0].split()
    if iommu == "amd":  # without it there is interrupt remapping alone
        assert "dma-remap=on" in found[0].split(",")


def test_an_iommu_with_properties() -> None:
    line = arguments(MachineOptions(iommu="intel:intremap=off:aw-bits=48"))
    (found,) = [value for value in values(line, "-device") if "-iommu" in value]
    assert found == "intel-iommu,intremap=off,caching-mode=on,aw-bits=48"


def test_the_iommu_is_there_before_what_it_is_for() -> None:
    devices = values(arguments(MachineOptions()), "-device")
    assert devices[0].startswith("intel-iommu")


@pytest.mark.parametrize(("version", "without"), [((7, 2), True), ((10, 0, 2), False)])
def test_old_ones_go_without_cx16(version: tuple[int, ...], without: bool) -> None:
    (cpu,) = values(arguments(MachineOptions(), version), "-cpu")
    assert {"+svm", "+pdpe1gb"} <= set(cpu.split(","))
    assert ("cx16=off" in cpu) is without


def test_slots_are_where_the_kernel_is_told_to_look() -> None:
    ports = [d for d in values(arguments(MachineOptions()), "-device") if "root-port" in d]
    assert len(ports) == SLOTS
    for slot, port in enumerate(ports):
        assert f"id={slot_id(slot)}," in port
        device = int(slot_address(slot).split(":")[2].partition(".")[0], 16)
        assert f"addr={device:#x}" in port
    assert len({port.partition("chassis=")[2].partition(",")[0] for port in ports}) == SLOTS


def test_bridges_are_in_the_last_slots() -> None:
    line = arguments(MachineOptions(bridges=2))
    bridges = [d for d in values(line, "-device") if d.startswith("pcie-pci-bridge")]
    assert [f"id={bridge_id(slot)},bus={slot_id(slot)}" for slot in (SLOTS - 2, SLOTS - 1)] == [
        bridge.partition(",")[2] for bridge in bridges
    ]


def test_memory() -> None:
    options = MachineOptions(memory=512 << 20)
    assert not values(list(memory_arguments(options, None)), "-object")
    for private, share in ((True, "off"), (False, "on")):
        line = list(memory_arguments(options, Backing(Path("/c/a,b/ram"), private)))
        (backend,) = values(line, "-object")
        assert f"share={share}" in backend
        assert "size=512M" in backend
        assert "mem-path=/c/a,,b/ram" in backend  # QEMU's way to write a comma
        assert "memory-backend=ram" in values(line, "-machine")[0]


def test_more_memory_than_it_has_addresses_for() -> None:
    with pytest.raises(LabError, match="for 512G of memory; take less --memory"):
        MachineOptions(memory=100 << 40)


def test_wiring_names_the_descriptors() -> None:
    line = " ".join(wiring_arguments(Wiring(11, 12, 13)))
    assert "socket,id=monitor,fd=11" in line
    assert "socket,id=control,fd=12" in line
    assert "/proc/self/fd/13" in line


@pytest.mark.parametrize(
    "wrong",
    [
        {"iommu": "arm"},
        {"iommu": "intel:intremap"},
        {"iommu": "none:a=b"},
        {"cpus": 0},
        {"cpus": 256},
        {"memory": 1 << 20},
        {"memory": 1 << 40},
        {"bridges": SLOTS + 1},
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(LabError, match="; "):
        MachineOptions(**wrong)  # type: ignore[arg-type]


def test_all_iommus_have_arguments() -> None:
    for iommu in IOMMUS:
        assert arguments(MachineOptions(iommu=iommu))
