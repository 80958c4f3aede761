# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device of the host is taken back while a guest has it: it goes, and the guest goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pyvmm.vfio.host import HostFunction
from tests.conftest import ROOT
from tests.lab.profiles import BY_NAME

pytestmark = pytest.mark.usefixtures("guests")

DEVICE_GONE = 108


@pytest.fixture
def edu(profile: str, lab_device: Callable[[str], str]) -> Iterator[HostFunction]:
    """The edu device; vfio-pci has it again after the test."""
    if BY_NAME[profile].iommu == "none":
        pytest.skip("no guest has a device without an IOMMU")
    function = HostFunction(lab_device("edu"))
    yield function
    if function.driver is None:
        write(f"{function.path}/driver_override", "vfio-pci")
        write("/sys/bus/pci/drivers_probe", function.bdf)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


@contextmanager
def vm(edu: HostFunction, guest: str, command_line: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pyvmm", "run", str(ROOT / "configs" / "edu-host.yaml")]
    settings = {
        "devices[0].host": edu.bdf,
        "kernel": ROOT / "guests" / "build" / f"{guest}.elf",
        "cmdline": command_line,
    }
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(process.communicate()[1])


def take_back(edu: HostFunction) -> None:
    """Returns when nobody has the device open any more."""
    write(f"{edu.path}/driver/unbind", edu.bdf)
    assert edu.driver is None


@pytest.mark.every_kernel
def test_the_guest_goes_on(edu: HostFunction) -> None:
    with vm(edu, "hello", "echo") as process:
        read_until(process, "echo: ")
        take_back(edu)
        # An echo of each character; q ends the guest.
        out, err = process.communicate("still there\nq")
    assert "still there" in out
    assert err.splitlines() == [
        f"pyvmm: the host takes {edu.bdf} back; the guest goes on without the device"
    ]
    assert process.returncode == DEVICE_GONE


@pytest.mark.proof
def test_from_under_a_guest_that_never_stops_using_it(edu: HostFunction) -> None:
    with vm(edu, "storm", "mode=mmio n=4000000000") as process:
        read_until(process, "storm cpus=1 target=edu")
        take_back(edu)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert f"the host takes {edu.bdf} back" in err
    assert process.returncode == 128 + signal.SIGTERM
