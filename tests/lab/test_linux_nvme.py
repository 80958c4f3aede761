# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests with NVMe drives: used by all CPUs, unbound and bound, alone and two of a group."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.conftest import MakeLinux
from tests.lab.guest_images import GUESTS
from tests.lab.linux_guest import boots, heard
from tests.lab.profiles import LINUX_LABS

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1200)]

GetDevice = Callable[[str], str]
GetDevices = Callable[[str], list[str]]

THOROUGH = boots("nvme", "ext4", script="nvme-thorough.sh")
NO_CLOUD = boots("nvme", "ext4", kernel=GUESTS, script="nvme-thorough.sh")
TWO = boots("nvme")
NOISE = "dd if=/dev/urandom of=/tmp/noise{0} bs=1M count=4 2>/dev/null"
WRITE = 'dd if=/tmp/noise{0} of=/dev/nvme{0}n1 bs=64k oflag=direct 2>/dev/null & jobs="$jobs $!"'
SAME = "dd if=/dev/nvme{0}n1 bs=1M count=4 iflag=direct 2>/dev/null | cmp - /tmp/noise{0}"


@pytest.mark.profiles(*LINUX_LABS)
@pytest.mark.boots(THOROUGH)
def test_put_to_the_proof(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    passes_the_proof(THOROUGH, lab_device("nvme"), make_linux)


@pytest.mark.profiles("proof")
@pytest.mark.boots(NO_CLOUD)
def test_put_to_the_proof_by_bare_metals_kernel(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice
) -> None:
    passes_the_proof(NO_CLOUD, lab_device("nvme"), make_linux)


@pytest.mark.profiles("large")
@pytest.mark.boots(THOROUGH)
def test_with_memory_across_the_hole(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice
) -> None:
    """Linux takes what is above 4 GiB first, so that is where the drive's DMA goes."""
    drive = lab_device("nvme")
    vm = make_linux(THOROUGH, [drive], "size=8 rebinds=1", memory="4400M", cpus=2)
    vm.passes()
    assert vm.notices == []


def passes_the_proof(booted: dict[str, object], bdf: str, make_linux: MakeLinux) -> None:
    """256 MiB by four CPUs, a vector for each queue, 20 drivers in turn, and a file system."""
    vm = make_linux(booted, [bdf], "size=256 rebinds=20", cpus=4)
    used = vm.passes()
    assert "  ok   256 MiB are written from 4 CPUs" in used
    assert "  ok   each of 4 I/O queues has a vector" in used
    assert "  ok   20 times the driver is unbound and bound" in used
    assert vm.notices == []


@pytest.fixture
def pair(lab_devices: GetDevices, lab_device: GetDevice) -> list[str]:
    """The two drives of one IOMMU group."""
    return [bdf for bdf in lab_devices("nvme") if bdf != lab_device("nvme")]


@pytest.mark.profiles(*LINUX_LABS)
@pytest.mark.boots(TWO)
def test_two_of_a_group(backend: str, make_linux: MakeLinux, pair: list[str]) -> None:
    """Both at work at once."""
    vm = make_linux(TWO, pair)
    vm.start()
    vm.shell("until [ -e /dev/nvme0n1 ] && [ -e /dev/nvme1n1 ]; do sleep 1; done")
    for drive in range(2):
        vm.shell(NOISE.format(drive))
    vm.shell("\n".join(WRITE.format(drive) for drive in range(2)))
    vm.shell("for job in $jobs; do wait $job || break; done")
    for drive in range(2):
        vm.shell(SAME.format(drive))
    interrupts = vm.shell("cat /proc/interrupts")
    assert heard(interrupts, "nvme0q1") > 0
    assert heard(interrupts, "nvme1q1") > 0
    assert vm.notices == []
