# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The drivers of examples/, over every DMA space there is, and as the commands that they are."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pyvmm import vfio
from pyvmm.vfio import DeviceError, PciDevice
from pyvmm.vfio.kernel import open_device
from pyvmm.vfio.user.server import Server
from tests.lab.written import written

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MIB = 1 << 20

LabDevice = Callable[[str], str]


def load(name: str) -> Any:
    """An example as a module; starting Python for each test takes seconds here."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _huge_pages(request: pytest.FixtureRequest) -> Iterator[None]:
    """Without an IOMMU only they are physically contiguous beyond 4 KiB."""
    if request.node.callspec.params.get("backend") != "noiommu":
        yield
        return
    with written(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), 16):
        yield


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run an example as the command that it is."""

    def run(name: str, *arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        try:
            return load(name).main()
        except SystemExit as exit:
            return exit.code

    return run


@pytest.fixture
def drive(backend: str, lab_device: LabDevice) -> Iterator[PciDevice]:
    with vfio.open(lab_device("nvme"), backend=backend) as dev:
        yield dev


@pytest.mark.parametrize("depth", [1, 32])
def test_nvme_reads_what_it_wrote(drive: PciDevice, depth: int) -> None:
    nvme = load("nvme")
    assert drive.msix.count > 1
    it = nvme.Nvme(drive, depth)
    assert it.model == "QEMU NVMe Ctrl"
    size = MIB + 3 * it.block_size  # lists of pages, and an end within a page
    with drive.dma.alloc(size) as there, drive.dma.alloc(size) as back:
        there.view[:] = os.urandom(size)
        it.transfer(nvme.WRITE, 64, there.iova, size)
        it.transfer(nvme.READ, 64, back.iova, size)
        assert back.view == there.view
        # Many small ones, which go around the rings more than once.
        each = it.block_size * 8
        back.view[:] = bytes(size)
        it.io.run(
            (nvme.READ, 1, back.iova + at, each, 64 + at // it.block_size, 0, 7)
            for at in range(0, 100 * each, each)
        )
        assert back.view[: 100 * each] == there.view[: 100 * each]
        assert drive.msix.enabled


def test_the_library_in_short(lab_device: LabDevice) -> None:
    """Nothing is closed by hand; the checks after each test see to it that all of it ends."""
    with vfio.open(lab_device("nvme")) as dev:
        bar = dev.bars[0].map()
        buf = dev.dma.alloc(4096)
        irqs = dev.msix.enable(2)
        bar.u32[0x14] = 0
        irqs[0].trigger()
        irqs[0].wait(timeout=10)
        assert buf.view.nbytes == 4096
        with pytest.raises(vfio.InterruptTimeout):
            irqs[1].wait(timeout=0.1)
        dev.reset()
        irqs[1].trigger()
        assert irqs[1].wait(timeout=10) == 1


def test_nvme_by_intx(lab_device: LabDevice) -> None:
    nvme = load("nvme")
    with vfio.open(lab_device("nvme")) as dev:
        none = SimpleNamespace(count=0, disable=lambda: None, close=lambda: None)
        dev.msi = dev.msix = none  # type: ignore[assignment]
        it = nvme.Nvme(dev)
        assert dev.intx.enabled
        with dev.dma.alloc(MIB) as buffer:
            for _ in range(5):
                it.transfer(nvme.READ, 0, buffer.iova, MIB)


def test_nvme_reports_a_refusal_and_goes_on(lab_device: LabDevice) -> None:
    nvme = load("nvme")
    with vfio.open(lab_device("nvme")) as dev:
        it = nvme.Nvme(dev)
        with dev.dma.alloc(4096) as page:
            beyond = (nvme.READ, 1, page.iova, 4096, 1 << 31, 0, 7)
            fine = (nvme.READ, 1, page.iova, 4096, 0, 0, 7)
            with pytest.raises(nvme.NvmeError, match="refuses a command: status 0x"):
                it.io.run([fine, beyond, *[fine] * 100])
            it.io.run([fine] * 100)
            with pytest.raises(nvme.NvmeError, match="blocks: no 8 at"):
                it.transfer(nvme.READ, it.blocks - 7, page.iova, 4096)


def test_the_nvme_command(
    command: Callable[..., object], lab_device: LabDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("nvme", lab_device("nvme"), "--read", "8", "--blocks", "2") is None
    first, *dump = capsys.readouterr().out.splitlines()
    assert first.startswith("QEMU NVMe Ctrl, serial ")
    assert all(len(line.split("  ")) == 3 for line in dump)
    error = command("nvme", lab_device("edu"))
    assert str(error).startswith("nvme.py: error: ")
    assert "is no NVMe drive" in str(error)
    for blocks in ("0", "100000000000"):
        error = command("nvme", lab_device("nvme"), "--read", "8", "--blocks", blocks)
        assert f"blocks: no {blocks} at 8" in str(error)


def test_edu(backend: str, lab_device: LabDevice, capsys: pytest.CaptureFixture[str]) -> None:
    edu = load("edu")
    with vfio.open(lab_device("edu"), backend=backend) as dev:
        try:
            edu.run(edu.Edu(dev), 6)
        except DeviceError as error:
            # Without an IOMMU it is a matter of luck to get memory that 28 bits reach.
            if backend != "noiommu" or "IOVA" not in str(error):
                raise
            pytest.skip(str(error))
    out = capsys.readouterr().out
    assert "6! = 720" in out
    assert out.endswith("256 bytes by DMA to the device and back: the same\n")


def test_nic(backend: str, lab_device: LabDevice, capsys: pytest.CaptureFixture[str]) -> None:
    ping_through(lab_device("e1000e"), backend, capsys)


def ping_through(bdf: str, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """More frames than the rings have entries."""
    nic = load("nic")
    with vfio.open(bdf, backend=backend) as dev:
        asyncio.run(nic.run(nic.Nic(dev), "10.0.2.15", "10.0.2.2", 70))
    out = capsys.readouterr().out
    assert "10.0.2.2 is at 52:55:0a:00:02:02\n" in out
    assert "32 bytes back from 10.0.2.2: sequence 70, " in out


@contextmanager
def served(bdf: str, path: Path) -> Iterator[str]:
    """The socket of a vfio-user server of the device, in this process."""
    with open_device(bdf) as device, Server.listen(device, path) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield str(path)
        finally:
            server.stop()
            thread.join()


def test_nvme_and_nic_over_a_socket(
    command: Callable[..., object],
    lab_device: LabDevice,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same drivers, unchanged: who serves the devices here has them of the kernel."""
    with served(lab_device("nvme"), tmp_path / "nvme") as path:
        assert command("nvme", path, "--read", "8") is None
    with served(lab_device("e1000e"), tmp_path / "nic") as path:
        assert command("nic", path, "--count", "2") is None
    out = capsys.readouterr().out
    assert "4c 41 42 4e 56 4d 45 20 62 6c 6f 63 6b 20 30 30  LABNVME block 00" in out
    assert "32 bytes back from 10.0.2.2: sequence 2, " in out


def test_the_nic_command_without_an_answer(
    command: Callable[..., object], lab_device: LabDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = command("nic", lab_device("e1000e"), "--ping", "elsewhere")
    assert str(error).startswith("nic.py: error: ")


def test_lspci(
    command: Callable[..., object],
    kind: str,
    lab_device: LabDevice,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = lab_device(kind)
    assert command("lspci", address) == 0
    out = capsys.readouterr().out
    sysfs = Path(f"/sys/bus/pci/devices/{address}")
    vendor, device = ((sysfs / name).read_text()[2:6] for name in ("vendor", "device"))
    assert f"{address} " in out
    assert f"[{vendor}:{device}]" in out
    assert "bus_master-" in out
    assert "] MSI" in out


def test_lspci_of_all(
    command: Callable[..., object],
    lab_devices: Callable[[str], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those in one group with others are shown too."""
    assert command("lspci") == 0
    out = capsys.readouterr().out
    for address in (*lab_devices("nvme"), *lab_devices("edu"), *lab_devices("e1000e")):
        assert f"\n{address} " in f"\n{out}"
