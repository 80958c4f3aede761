# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device inside the VMM, in a process of its own, and behind a socket: the guest can't tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pyvmm.pci.errors import BadRom
from pyvmm.vfio.user.channel import Channel
from pyvmm.vfio.user.protocol import VFIO_USER_REGION_WRITE
from tests.kvm.machine.conftest import LIMIT, MakeMachine

pytestmark = pytest.mark.kvm

Config = dict[str, object]


@contextmanager
def inline(model: str, _sockets: Path) -> Iterator[Config]:
    yield {"model": model}


@contextmanager
def own_process(model: str, _sockets: Path) -> Iterator[Config]:
    yield {"model": model, "process": True}


@contextmanager
def behind_a_socket(model: str, sockets: Path) -> Iterator[Config]:
    path = sockets / "device"
    command = [sys.executable, "-m", "pyvmm", "serve", model, "--socket", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert f"{model} is served at {path}" in server.stderr.readline()
        try:
            yield {"socket": str(path)}
        finally:
            server.terminate()
    assert server.returncode == 0
    assert not path.exists()


def report(make: MakeMachine, guest: str, device: Config) -> list[str]:
    """What a guest says that exercises all of its device, and passes."""
    vm = make(guest, devices=[device])
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None, vm.console.text
    lines = vm.console.text.splitlines()
    assert outcome.ok, [line for line in lines if "ok" not in line]
    vm.close()
    return lines


@pytest.mark.parametrize("model", ["edu", pytest.param("testdev", marks=pytest.mark.proof)])
def test_three_ways_and_one_report(make: MakeMachine, sockets: Path, model: str) -> None:
    with inline(model, sockets) as device:
        wanted = report(make, model, device)
    assert wanted[-1] == "PASS"
    assert len(wanted) > 50
    with own_process(model, sockets) as device:
        assert report(make, model, device) == wanted
    with behind_a_socket(model, sockets) as device:
        assert report(make, model, device) == wanted
        if model == "testdev":
            # The next client sees nothing of what the first has left.
            assert report(make, model, device) == wanted


@pytest.mark.parametrize("away", [own_process, behind_a_socket])
def test_writes_that_wait_for_no_answer(
    make: MakeMachine,
    sockets: Path,
    monkeypatch: pytest.MonkeyPatch,
    away: Callable[[str, Path], AbstractContextManager[Config]],
) -> None:
    """The guest finds no difference; a key of the config says whether there are any."""
    posted: list[int] = []
    post = Channel.post

    def noted(channel: Channel, command: int, payload: bytes) -> None:
        posted.append(command)
        post(channel, command, payload)

    monkeypatch.setattr(Channel, "post", noted)
    with away("edu", sockets) as device:
        wanted = report(make, "edu", device)
        assert not posted
        assert report(make, "edu", {**device, "posted_writes": True}) == wanted
    assert set(posted) == {VFIO_USER_REGION_WRITE}


@pytest.mark.parametrize("process", [False, True])
def test_a_models_options_reach_it(make: MakeMachine, process: bool) -> None:
    options = {"dma_mask": 0xFFFFFFFF}
    vm = make("edu", devices=[{"model": "edu", "process": process, "options": options}])
    vm.start()
    vm.console.expect("FAIL a source address loses its higher bits", LIMIT)


def test_expansion_roms(make: MakeMachine, tmp_path: Path) -> None:
    """The device's own, none, and one from a file."""
    image = bytes([0x55, 0xAA, 9]) + bytes(9 * 512 - 3)
    (tmp_path / "card.rom").write_bytes(image)
    roms = [None, "none", str(tmp_path / "card.rom")]
    vm = make("lspci", devices=[{"model": "testdev", "rom": rom} for rom in roms])
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok
    sizes: list[str] = []
    for line in vm.console.text.splitlines():
        if " 1234:7e57 " in line:
            sizes.append("none")
        elif line.startswith("    rom at "):
            sizes[-1] = line.rpartition(" ")[2]
    assert sizes == ["0x1000", "none", "0x2000"]


def test_a_file_that_is_no_expansion_rom(make: MakeMachine, tmp_path: Path) -> None:
    (tmp_path / "card.rom").write_bytes(b"MZ")
    vm = make("lspci", devices=[{"model": "testdev", "rom": str(tmp_path / "card.rom")}])
    with pytest.raises(BadRom, match=r"card\.rom: it is no expansion ROM"):
        vm.start()


def test_devices_where_they_were_put(make: MakeMachine) -> None:
    vm = make(
        "lspci",
        devices=[
            {"model": "testdev"},
            {"model": "edu", "slot": "04.0", "process": True},
            {"model": "testdev", "slot": "04.3"},
            {"model": "edu", "slot": "01.0"},
        ],
    )
    vm.start()
    outcome = vm.wait(LIMIT)
    assert outcome is not None
    assert outcome.ok
    found = [line[:17] for line in vm.console.text.splitlines() if line[2:3] == ":"]
    assert found == [
        "00:00.0 8086:29c0",
        "00:01.0 1234:11e8",
        "00:02.0 1234:7e57",
        "00:04.0 1234:11e8",
        "00:04.3 1234:7e57",
    ]
