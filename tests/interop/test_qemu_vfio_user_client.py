# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""`pyvmm serve` with a client that nobody here wrote: QEMU's vfio-user-pci."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import QEMU
from tests.interop.guests.conftest import DEBUG_EXIT, command_line, serial_lines

pytestmark = pytest.mark.interop

TIMEOUT = 180.0  # seconds, for a guest; all of testdev takes 30 in software
CURE = "QEMU 10.1 and newer have it: set PYVMM_QEMU to the command of one"

SHARED = (
    *("-object", "memory-backend-memfd,id=ram,size=128M,share=on"),
    *("-machine", "memory-backend=ram"),
)
ANONYMOUS = ()  # without an fd to pass: the device's DMA goes by messages

# What QEMU does differently, whatever the device. An address where nothing is reads as zero.
# A function-level reset is the device's alone, and what QEMU has of it stays as it is. Doorbells
# are never made ioeventfds.
# The device is not told which vectors are masked: QEMU holds them back itself, and shows them as
# pending only once its main loop has seen them.
QEMU_IS_DIFFERENT = (
    r"disabled, it reads all-ones: got 0x0, .*",
    r"memory decoding off: .* all-ones: got 0x0, .*",
    r".* moved: .* not at the old one: got 0x0, .*",
    r"ROM, moved back: it reads all-ones until it is enabled: got 0x0, .*",
    r"asleep: .* all-ones: got 0x0, .*",
    r"after it: no decoding, no bus mastering: got 0x7, .*",
    r"after it: BAR 0 is at 0: got .*",
    r"after it: the mapped area reads all-ones: got 0xbeef, .*",
    r"none of that trapped: got 0x14, expected 0x0",
    r"(vector|function) (un)?masked.*: vector \d+ is pending",
)


class Ran(NamedTuple):
    """A guest that has ended: QEMU's status, what the guest said, and what QEMU did."""

    status: int
    lines: list[str]
    complaints: str


RunGuest = Callable[..., Ran]
Serve = Callable[[str], str]


@pytest.fixture(scope="module")
def vfio_user_pci() -> None:
    """QEMU has the client."""
    asked = [*QEMU, "-device", "vfio-user-pci,help"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except OSError as error:
        pytest.skip(f"{QEMU[0]}: {error.strerror}; {CURE}")
    if "socket=" not in done.stdout:  # a device that is not there is no failure to old ones
        pytest.skip(f"{QEMU[0]} has no vfio-user-pci; {CURE}")


@pytest.fixture
def run(vfio_user_pci: None, guests: Path, tmp_path: Path) -> RunGuest:
    """`run("edu", "-device", "edu")`: boot a guest in software, wait for its end."""

    def run(guest: str, *options: str) -> Ran:
        serial = tmp_path / "serial"  # a file: QEMU's edu prints to stdout
        command = command_line(guests / f"{guest}.elf", "", *DEBUG_EXIT, *options)
        done = subprocess.run(
            [*command, "-serial", f"file:{serial}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert serial.exists(), done.stderr
        return Ran(done.returncode, serial_lines(serial.read_bytes()), done.stderr)

    return run


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve("edu")`: a server in a process of its own; the -device option for it."""
    servers: list[subprocess.Popen[str]] = []

    def serve(model: str) -> str:
        path = str(tmp_path / model)
        server = subprocess.Popen(
            [sys.executable, "-m", "pyvmm", "serve", model, "--socket", path],
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(server)
        assert server.stderr
        assert "is served" in server.stderr.readline()
        where = {"type": "unix", "path": path}
        return json.dumps({"driver": "vfio-user-pci", "socket": where, "addr": "01.0"})

    yield serve
    for server in servers:
        server.terminate()
        _, complaints = server.communicate(timeout=TIMEOUT)
        assert not complaints
        assert server.returncode == 0


@pytest.mark.parametrize("memory", [SHARED, ANONYMOUS], ids=["shared", "messages"])
def test_edu_reports_what_the_edu_of_qemu_does(
    run: RunGuest, serve: Serve, memory: tuple[str, ...]
) -> None:
    own = run("edu", "-device", "edu,addr=01.0")
    device = serve("edu")
    for _ in range(2):  # the server goes on with the next client
        served = run("edu", *memory, "-device", device)
        assert served.lines == own.lines, served.complaints
        assert served.lines[-1] == "PASS"
        assert served.status == own.status == 1


@pytest.mark.kvm
def test_edu_with_the_quick_paths_of_kvm(run: RunGuest, serve: Serve) -> None:
    """INTx is then unmasked by eventfd, which QEMU sets again whenever INTx is routed anew."""
    kvm = ("-M", "q35", "-accel", "kvm", "-cpu", "host")
    served = run("edu", *kvm, *SHARED, "-device", serve("edu"))
    assert served.lines[-1] == "PASS"
    assert served.status == 1
    assert "VFIO_DEVICE_SET_IRQS" not in served.complaints


@pytest.mark.parametrize("memory", [SHARED, ANONYMOUS], ids=["shared", "messages"])
def test_testdev_fails_only_where_qemu_is_different(
    run: RunGuest, serve: Serve, memory: tuple[str, ...]
) -> None:
    served = run("testdev", *memory, "-device", serve("testdev"))
    failed = [line.removeprefix("  FAIL ") for line in served.lines if line.startswith("  FAIL ")]
    assert failed, "QEMU has changed: make this a test for PASS"
    expected = re.compile("|".join(QEMU_IS_DIFFERENT))
    assert [check for check in failed if not expected.fullmatch(check)] == []
    assert served.lines[-1] == f"FAIL: {len(failed)} checks failed"
    assert len([line for line in served.lines if line.startswith("  ok ")]) > 180
