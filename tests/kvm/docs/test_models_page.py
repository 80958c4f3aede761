# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/models.md: its devices are served, to the clients and to the guest that the page has."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.uapi.pci_regs import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from pyvmm.uapi.vfio import (
    VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
)
from pyvmm.vfio import EventFd
from pyvmm.vfio.user import Client
from tests.kvm.docs.conftest import ROOT, Block, blocks, check_output, run

pytestmark = pytest.mark.kvm

COUNTER, CLIENT, SAMPLER, SAMPLES, _ = blocks("models.md", "python")
RUN, COMMANDS, _, _ = blocks("models.md", "console")
CLIENT_PATH, SAMPLES_PATH = "/tmp/counter.sock", "/tmp/sampler.sock"


@pytest.fixture
def served(sockets: Path) -> Iterator[str]:
    """The page's first model, at a path of this test's own."""
    with serving(COUNTER, sockets) as path:
        yield path


@contextmanager
def serving(block: Block, sockets: Path) -> Iterator[str]:
    path = str(sockets / "model.sock")
    model = sockets / block.name
    model.write_text(block.code)
    command = [sys.executable, "-m", "pyvmm", "serve", str(model), "--socket", path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            assert b"is served at" in process.stderr.readline()
            yield path
        finally:
            process.terminate()


def with_path(text: str, path: str, shown: str = CLIENT_PATH) -> str:
    assert text.count(shown) == 1
    return text.replace(shown, path)


def test_the_client_reads_what_the_page_shows(served: str) -> None:
    status, output = run(["-c", with_path(CLIENT.code, served)])
    assert status == 0, output
    check_output(CLIENT.output, output)


def test_the_guest_finds_the_device_in_the_file(guests: Path, tmp_path: Path) -> None:
    (tmp_path / COUNTER.name).write_text(COUNTER.code)
    program, *boot = shlex.split(RUN.code)[1:]
    assert program == ".venv/bin/pyvmm"
    boot[-1] = with_path(boot[-1], str(tmp_path / COUNTER.name), f"./{COUNTER.name}")
    status, output = run(["-m", "pyvmm", *boot])
    assert status == 0, output
    check_output(RUN.output, output)


def test_the_guest_finds_the_device_at_the_socket(served: str, guests: Path) -> None:
    serve, boot = (shlex.split(line)[1:] for line in COMMANDS.code.splitlines())
    assert serve == [".venv/bin/pyvmm", "serve", COUNTER.name, "--socket", CLIENT_PATH, "&"]
    assert boot.pop(0) == ".venv/bin/pyvmm"
    boot[-1] = with_path(boot[-1], served)
    status, output = run(["-m", "pyvmm", *boot])
    assert status == 0, output
    check_output(RUN.output, output)


def test_each_tenth_write_sends_an_interrupt(served: str) -> None:
    with Client.connect(served) as device, EventFd() as trigger:
        command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
        device.region_write(
            VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, command.to_bytes(2, "little")
        )
        device.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [trigger.fileno()])
        for count in range(1, 21):
            device.region_write(VFIO_PCI_BAR0_REGION_INDEX, 0x04, bytes(4))
            assert trigger.read() == (count % 10 == 0)


def test_the_driver_takes_samples(sockets: Path) -> None:
    with serving(SAMPLER, sockets) as path:
        status, output = run(["-c", with_path(SAMPLES.code, path, SAMPLES_PATH)])
        assert status == 0, output
        check_output(SAMPLES.output, output)


def test_the_models_of_the_page_are_short() -> None:
    for block, most in ((COUNTER, 20), (SAMPLER, 52)):
        code = block.code.partition("class ")[2]
        assert len(code.splitlines()) < most


def test_the_whole_of_virtio_rng_is_shown() -> None:
    (shown,) = blocks("models.md", "py")
    source = (ROOT / "pyvmm/models/virtio/rng.py").read_text()
    assert [line for line in shown.code.splitlines() if line not in source.splitlines()] == []
