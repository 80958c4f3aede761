# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Models served to QEMU's vfio-user-pci, with no guest: registers, interrupts, DMA, resets."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CLASS_REVISION,
    PCI_COMMAND,
    PCI_MSI_FLAGS_ENABLE,
    PCI_MSIX_FLAGS_ENABLE,
)
from tests.conftest import ROOT
from tests.interop.conftest import Qemu, Serve, client_at
from tests.interop.qtest import BAR, Qtest
from tests.kvm.docs.conftest import blocks

pytestmark = pytest.mark.interop

MEMORY = {
    "shared": (
        *("-object", "memory-backend-memfd,id=ram,size=128M,share=on"),
        *("-machine", "memory-backend=ram"),
    ),
    "messages": (),  # no fd to pass: the device's DMA goes by messages
}
MESSAGES = 0x100000
"""RAM that messages of interrupts are written to, where they can be read."""
QUEUES, DATA = 0x200000, 0x300000

Start = Callable[[str], Qtest]


@pytest.fixture(params=MEMORY)
def start(request: pytest.FixtureRequest, qemu_client: Qemu) -> Iterator[Start]:
    """start(device): a machine with it."""
    machines: list[Qtest] = []

    def start(device: str) -> Qtest:
        machines.append(Qtest(qemu_client, *MEMORY[request.param], "-device", device))
        return machines[-1]

    yield start
    for machine in machines:
        machine.__exit__()


def enable_msi(machine: Qtest, data: int) -> None:
    """One message, into RAM."""
    at = machine.capability(PCI_CAP_ID_MSI)
    machine.set_config(at + 4, MESSAGES)
    machine.set_config(at + 8, 0)
    machine.set_config(at + 12, data, "w")
    machine.set_config(at + 2, machine.config(at) >> 16 | PCI_MSI_FLAGS_ENABLE, "w")


def test_edu(start: Start, serve: Serve) -> None:
    device = serve("edu")
    for _ in range(2):  # the server goes on with the next client
        with start(device) as machine:
            assert machine.config(0) == 0x11E81234
            machine.set_config(PCI_BASE_ADDRESS_0, 0xFFFFFFFF)
            assert machine.config(PCI_BASE_ADDRESS_0) == 0xFFF00000
            machine.enable()
            assert machine.read(BAR) == 0x010000ED
            machine.write(BAR + 0x04, 0x12345678)
            assert machine.read(BAR + 0x04) == 0x12345678 ^ 0xFFFFFFFF

            enable_msi(machine, 0x4711)
            machine.write(BAR + 0x60, 1)
            machine.until(lambda: machine.read(MESSAGES) == 0x4711)
            machine.write(BAR + 0x64, 1)

            text = os.urandom(1000)
            machine.set_memory(DATA, text)
            transfer(machine, DATA, 0x40000, 1)
            transfer(machine, 0x40000, DATA + 0x1000, 1 | 2)
            assert machine.memory(DATA + 0x1000, 1000) == text

            machine.reset()
            assert machine.config(PCI_COMMAND) & 0xFFFF == 0
            machine.enable()
            assert machine.read(BAR + 0x04) == 0


def transfer(machine: Qtest, source: int, target: int, command: int) -> None:
    for register, value in ((0x80, source), (0x88, target), (0x90, 1000), (0x98, command)):
        machine.write(BAR + register, value, "q")
    machine.until(lambda: not machine.read(BAR + 0x98, "q") & 1)


def test_nvme(start: Start, serve: Serve) -> None:
    with start(serve("nvme", "--option", "serial=QTEST")) as machine:
        assert machine.config(PCI_CLASS_REVISION) >> 8 == 0x010802
        machine.enable()
        assert machine.read(BAR + 0x08) == 0x00010400
        table = msix_table(machine)
        machine.write(table, MESSAGES, "q")
        machine.write(table + 8, 0x4712)
        machine.write(table + 12, 0)

        machine.write(BAR + 0x24, 3 << 16 | 3)
        machine.write(BAR + 0x28, QUEUES, "q")
        machine.write(BAR + 0x30, QUEUES + 0x1000, "q")
        machine.write(BAR + 0x14, 4 << 20 | 6 << 16 | 1)
        machine.until(lambda: machine.read(BAR + 0x1C) & 1 == 1)
        identify = struct.pack("<BBHI16xQQI20x", 6, 0, 0x0815, 0, DATA, 0, 1)
        machine.set_memory(QUEUES, identify)
        machine.write(BAR + 0x1000, 1)
        machine.until(lambda: machine.read(QUEUES + 0x100C) >> 16 & 1 == 1)
        assert machine.read(QUEUES + 0x100C) == 1 << 16 | 0x0815  # no error
        assert machine.memory(DATA + 4, 20).rstrip() == b"QTEST"
        machine.until(lambda: machine.read(MESSAGES) == 0x4712)

        machine.reset()
        machine.enable()
        assert machine.read(BAR + 0x1C) & 1 == 0


def msix_table(machine: Qtest) -> int:
    """Turn MSI-X on; the address of its table."""
    at = machine.capability(PCI_CAP_ID_MSIX)
    machine.set_config(at + 2, machine.config(at) >> 16 | PCI_MSIX_FLAGS_ENABLE, "w")
    where = machine.config(at + 4)
    assert where & 7 == 0
    return BAR + where


def test_the_model_of_the_docs(start: Start, tmp_path: Path) -> None:
    (block,) = (block for block in blocks("models.md", "python") if block.name == "sampler.py")
    path, model = str(tmp_path / "sampler.sock"), tmp_path / block.name
    model.write_text(block.code)
    command = [sys.executable, "-m", "pyvmm", "serve", str(model), "--socket", path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as server:
        try:
            assert server.stderr
            assert b"is served at" in server.stderr.readline()
            with start(client_at(path)) as machine:
                machine.enable()
                enable_msi(machine, 0x4713)
                machine.write(BAR + 0x0C, 4)
                machine.write(BAR + 0x10, DATA, "q")
                machine.write(BAR + 0x00, 5 << 8 | 1)
                machine.until(lambda: machine.read(BAR + 0x08) >= 8)
                assert machine.read(MESSAGES) == 0x4713
                machine.write(BAR + 0x00, 0)
                numbers = [n for n, _ in struct.iter_unpack("<QQ", machine.memory(DATA, 64))]
                assert max(numbers) >= 7
                assert len(set(numbers)) == 4
        finally:
            server.terminate()
