# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests with other devices: edu from user space, USB, virtio, and several at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.conftest import MakeLinux
from tests.lab.guest_images import GUESTS
from tests.lab.linux_guest import boots, heard
from tests.lab.profiles import LINUX_LABS

pytestmark = [
    pytest.mark.proof,
    pytest.mark.profiles(*LINUX_LABS),
    pytest.mark.timeout(1200),
]

GetDevice = Callable[[str], str]
GetDevices = Callable[[str], list[str]]

EDU = boots("uio_pci_generic", script="edu.sh")
USB = boots("xhci-pci", "usb-storage", "sd_mod", "ext4", kernel=GUESTS, script="disk.sh")
SATA = boots("ahci", "sd_mod", "ext4", kernel=GUESTS, script="disk.sh")
# Where the bus is no module, it is there already.
VIRTIO = boots("virtio_pci", "virtio_net", "virtio_blk", "ext4")
TOGETHER = boots("nvme", "e1000e", kernel=GUESTS, script="together.sh")
NOISE = "dd if=/dev/urandom of=/tmp/noise bs=1M count=4 2>/dev/null"


@pytest.mark.boots(EDU)
def test_edu_from_user_space(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    vm = make_linux(EDU, [lab_device("edu")], "memmap=1M$128M", memory="256M")
    lines = vm.passes()
    assert "  ok   interrupt 3" in lines
    assert vm.notices == []


@pytest.mark.boots(USB)
def test_a_usb_disk(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    vm = make_linux(USB, [lab_device("xhci")], "disk=sda")
    lines = vm.passes()
    assert any("/usb" in line for line in lines if line.startswith("at pci"))
    assert vm.notices == []


@pytest.mark.boots(SATA)
def test_a_sata_disk(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    vm = make_linux(SATA, [lab_device("ahci")], "disk=sda")
    lines = vm.passes()
    assert any("/ata" in line for line in lines if line.startswith("at pci"))
    assert vm.notices == []


@pytest.mark.boots(VIRTIO)
def test_virtio_behind_an_iommu(
    backend: str, make_linux: MakeLinux, lab_devices: GetDevices
) -> None:
    """Both are of one IOMMU group."""
    vm = make_linux(VIRTIO, [*lab_devices("virtio-net"), *lab_devices("virtio-blk")])
    vm.start()
    vm.shell("until [ -e /sys/class/net/eth0 ]; do sleep 1; done")
    vm.shell("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0")
    vm.shell("ping -A -q -W 60 -c 200 10.0.2.2")
    vm.shell(f"{NOISE}; dd if=/tmp/noise of=/dev/vda bs=1M oflag=direct conv=fsync 2>/dev/null")
    vm.shell("dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | cmp - /tmp/noise")
    interrupts = vm.shell("cat /proc/interrupts")
    assert heard(interrupts, "virtio0-input.0") > 0
    assert heard(interrupts, "virtio1-req.0") > 0
    assert vm.notices == []


@pytest.mark.boots(TOGETHER)
def test_a_drive_a_card_and_edu(backend: str, make_linux: MakeLinux, lab_device: GetDevice) -> None:
    """All three at work at once."""
    devices = [lab_device(kind) for kind in ("nvme", "e1000e", "edu")]
    vm = make_linux(TOGETHER, devices, cpus=2)
    vm.passes()
    assert vm.notices == []
