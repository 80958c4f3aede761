# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The VMs in configs/: each one runs as its comments say, and passes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyvmm.config import Device, load
from tests.kvm.cli.conftest import PYVMM, Done, run

pytestmark = [pytest.mark.kvm, pytest.mark.usefixtures("guests")]

CONFIGS = Path(__file__).resolve().parents[3] / "configs"

# What only the guest and the devices that a config names make a run say.
SAYS = {
    "edu": ("factorial by polling:", "MSI:", "INTx:"),
    "edu-inline": ("factorial by polling:", "MSI:", "INTx:"),
    "edu-socket": ("factorial by polling:", "MSI:", "INTx:"),
    "hello": ("Hello from the guest", "cpus: 1", "command line: greetings from configs/hello.yaml"),
    "lspci": ("00:01.0 1234:7e57 ", "00:02.0 1234:11e8 ", "functions: 3"),
    "nvme": ("33 queues are made", "20 drivers, in turn with INTx and MSI-X"),
    "reset": ("boot 1:", "boot 4:", "its state is as at the first boot"),
    "root-port": (
        "00:05.0 8086:3420 ",
        "01:00.0 1234:7e57 ",
        "01:00.0 is on the bus that the bridge gives it",
        "01:00.0 has been reset",
    ),
    "smp": ("storm cpus=4 target=testdev ", "mode=smp cpu=3 ipis=200 irqs=200 lost=0"),
    "testdev": ("decoding and relocation:", "MSI-X:", "DMA:"),
}


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def config(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


def passes(name: str, done: Done) -> None:
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, ""), [line for line in lines if "FAIL" in line]
    assert lines[-1] == "PASS"
    for part in SAYS[name]:
        assert part in done.out


@contextmanager
def served(model: str, path: Path) -> Iterator[Path]:
    """`pyvmm serve` for a model, as the comments tell to start it."""
    command = [*PYVMM, "serve", model, "--socket", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert f"{model} is served at {path}" in server.stderr.readline()
            yield path
        finally:
            server.terminate()
    assert server.returncode == 0


def test_none_is_left_out() -> None:
    in_the_lab = {"edu-host", "nvme-host", "linux", "linux-nvme"}
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(SAYS) | in_the_lab


@pytest.mark.parametrize("name", sorted(SAYS.keys() - {"edu-socket"}))
def test_runs(name: str) -> None:
    passes(name, run("run", config(name)))


def test_the_server_goes_on_for_the_next_vm(sockets: Path) -> None:
    """edu-socket.yaml, but for a path that is nobody else's."""
    with served("edu", sockets / "edu.sock") as path:
        for _ in range(2):
            done = run("run", config("edu-socket"), "--set", f"devices[0].socket={path}")
            passes("edu-socket", done)


def test_the_same_device_in_three_places() -> None:
    """Whose only difference is what their comments tell of."""
    devices: dict[str, Device] = {}
    for name in ("edu", "edu-inline", "edu-socket"):
        (devices[name],) = load(config(name)).devices
        assert devices[name].slot == 3 << 3
    assert (devices["edu"].model, devices["edu"].process) == ("edu", True)
    assert (devices["edu-inline"].model, devices["edu-inline"].process) == ("edu", False)
    assert (devices["edu-socket"].model, devices["edu-socket"].socket) == (None, "/tmp/edu.sock")
    assert "pyvmm serve edu --socket /tmp/edu.sock &\n" in config("edu-socket").read_text()


def test_keys_that_hello_says_can_be_changed() -> None:
    done = run("run", config("hello"), "--set", "cmdline=exit=3")
    assert "command line: exit=3\n" in done.out
    assert done.status == 3


def test_a_reset_that_reset_says_ends_it() -> None:
    done = run("run", config("reset"), "--set", "on_reset=exit", "--set", "max_resets=null")
    assert done.out.count("boot ") == 1
    assert done.status == 117


@pytest.mark.parametrize("way", ["i8042", "acpi", "triple"])
def test_ways_that_reset_says_there_are(way: str) -> None:
    passes("reset", run("run", config("reset"), "--set", f"cmdline=reset={way}"))


def test_devices_that_lspci_says_can_be_changed(sockets: Path) -> None:
    with served("edu", sockets / "edu.sock") as path:
        done = run("run", config("lspci"), "--set", f"devices=[{{socket: {path}}}]")
    assert "00:01.0 1234:11e8 " in done.out
    assert "functions: 2\n" in done.out
    assert done.out.endswith("PASS\n")
    assert done.status == 0
