# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests with network cards: each frame accounted for, by every kind of interrupt."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio.device import IrqInfo
from pyvmm.vfio.host import HostFunction
from pyvmm.vfio.kernel import KernelDevice, open_device
from tests.lab.conftest import MakeLinux
from tests.lab.drivers import given_to
from tests.lab.guest_images import GUESTS
from tests.lab.linux_guest import boots
from tests.lab.profiles import LINUX_LABS
from tests.lab.written import written

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1200)]
WITH_CARDS = pytest.mark.profiles(*LINUX_LABS)

GetDevice = Callable[[str], str]

CARDS = boots("e1000e", "igb", kernel=GUESTS, script="network.sh")
VIRTUAL = boots("igbvf", kernel=GUESTS, script="network.sh")
BUSYBOX = "/run/pyvmm-lab/busybox"
MANY = "packets=10000"
RELOADED = boots("e1000e", kernel=GUESTS)
PING = "ping -A -q -W 60 -c 100 10.0.2.2"
HAS_CARRIER = "until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 1; done"


@WITH_CARDS
@pytest.mark.boots(CARDS)
def test_frames_by_msix(kind: str, backend: str, make_linux: MakeLinux, bdf: str) -> None:
    """10,000 of them, from two CPUs."""
    vm = make_linux(CARDS, [bdf], f"interrupts=msix {MANY}", cpus=2)
    vm.passes()
    assert vm.notices == []


@WITH_CARDS
@pytest.mark.boots(CARDS)
def test_frames_by_intx(kind: str, backend: str, make_linux: MakeLinux, bdf: str) -> None:
    vm = make_linux(CARDS, [bdf], f"pci=nomsi interrupts=intx {MANY}")
    vm.passes()
    assert vm.notices == []


@pytest.fixture
def without_msix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices have none: a driver that can't be asked to do without takes MSI then."""
    irq_info = KernelDevice.irq_info

    def none_of_it(device: KernelDevice, index: int) -> IrqInfo:
        info = irq_info(device, index)
        return info._replace(count=0) if index == VFIO_PCI_MSIX_IRQ_INDEX else info

    monkeypatch.setattr(KernelDevice, "irq_info", none_of_it)


@WITH_CARDS
@pytest.mark.boots(CARDS)
def test_frames_by_msi(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice, without_msix: None
) -> None:
    """By igb. Linux tests e1000e's MSI and gives it up with QEMU's card, assigned or not: "MSI
    interrupt test failed, using legacy interrupt".
    """
    vm = make_linux(CARDS, [lab_device("igb")], f"interrupts=msi {MANY}")
    vm.passes()
    assert vm.notices == []


@WITH_CARDS
@pytest.mark.boots(RELOADED)
def test_drivers_that_change_interrupts(
    backend: str, make_linux: MakeLinux, lab_device: GetDevice
) -> None:
    """The same card by MSI-X and INTx in turn. With MSI, Linux finds none, and goes on by INTx."""
    vm = make_linux(RELOADED, [lab_device("e1000e")])
    vm.start()
    vm.shell("dmesg -n 1")
    msix, msi, intx = 2, 1, 0
    for mode in (msix, intx, msix, msi, msix, intx, intx, msix, msix):
        vm.shell(f"modprobe -r e1000e; modprobe e1000e IntMode={mode}")
        vm.shell(f"ip link set eth0 up; {HAS_CARRIER}; ip addr add 10.0.2.15/24 dev eth0")
        vm.shell(PING)
        kinds = vm.shell("cat /sys/class/net/eth0/device/msi_irqs/* 2>/dev/null | sort -u; true")
        assert kinds == (["msix"] if mode == msix else [])
        lines = [line for line in vm.shell("cat /proc/interrupts") if "eth0" in line]
        assert len(lines) == (3 if mode == msix else 1)
        assert all(("MSIX" in line or "MSI" in line) == (mode == msix) for line in lines)
    assert vm.notices == []


@pytest.fixture
def virtual(lab_device: GetDevice) -> Iterator[str]:
    """A virtual function of an igb that is its own driver's, on the host."""
    owner = HostFunction(lab_device("igb"))
    folder = Path(owner.path)
    with given_to(owner.bdf, "igb"):
        (card,) = (path.name for path in (folder / "net").iterdir())
        subprocess.run([BUSYBOX, "ip", "link", "set", card, "up"], check=True)
        with (
            written(folder / "sriov_drivers_autoprobe", 0),
            written(folder / "sriov_numvfs", 1),
        ):
            (function,) = owner.virtual_functions
            (Path(HostFunction(function).path) / "driver_override").write_text("vfio-pci")
            Path("/sys/bus/pci/drivers_probe").write_text(function)
            yield function
    # igb has left it a bus master, which vfio-pci, once it was used, does not.
    open_device(owner.bdf).close()


@pytest.mark.profiles("igb", "igb-6.1", "igb-newest")
@pytest.mark.boots(VIRTUAL)
def test_a_virtual_function(
    backend: str, make_linux: MakeLinux, virtual: str, lab_device: GetDevice
) -> None:
    """Its owner is the host's meanwhile. In labs with so little memory that its BARs are below
    4 GiB: QEMU 10.0 has them there, wherever they are.
    """
    vm = make_linux(VIRTUAL, [virtual], f"interrupts=msix {MANY}")
    vm.passes()
    assert vm.notices == []
    assert HostFunction(lab_device("igb")).driver == "igb"
