# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Models in files of one's own: in configs, inside the VMM and in a process, and served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.cli import exit_codes
from tests.kvm.cli.conftest import Start, finish, run

pytestmark = pytest.mark.kvm

COUNTER = """
from pyvmm.models import Bar, Identity, Model

class Counter(Model):
    identity = Identity(0x1234, 0x0C0C, class_code=0xFF0000)
    bar0 = Bar(0, 4096)
"""
Vm = Callable[..., Path]
SEEN = "1234:0c0c class ff0000"


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "counter.py"
    path.write_text(COUNTER)
    return path


@pytest.mark.parametrize("process", [False, True])
def test_in_a_config(vm: Vm, counter: Path, process: bool) -> None:
    done = run("run", vm("lspci", devices=[{"model": str(counter), "process": process}]))
    assert (done.status, done.err) == (0, "")
    assert SEEN in done.out


@pytest.mark.parametrize("name", ["./counter.py", "counter.py:Counter"])
def test_its_path_starts_at_the_configs_folder(vm: Vm, counter: Path, name: str) -> None:
    config = vm("lspci", devices=[{"model": name}])
    assert config.parent == counter.parent
    done = run("run", config)
    assert (done.status, done.err) == (0, "")
    assert SEEN in done.out


def test_served(vm: Vm, start: Start, counter: Path, sockets: Path) -> None:
    path = sockets / "device"
    server = start("serve", counter, "--socket", path)
    assert server.stderr is not None
    assert "counter is served" in server.stderr.readline()
    done = run("run", vm("lspci", devices=[{"socket": str(path)}]))
    assert SEEN in done.out
    server.terminate()
    assert finish(server).status == 0


def test_one_that_is_wrong(vm: Vm, counter: Path) -> None:
    counter.write_text(COUNTER + "\n1 / 0\n")
    told = f"model {counter}: importing it: ZeroDivisionError: division by zero"
    done = run("run", vm("lspci", devices=[{"model": str(counter)}]))
    done.refused(exit_codes.BAD_MODEL, told)
    done = run("run", vm("lspci", devices=[{"model": str(counter), "process": True}]))
    assert done.status == exit_codes.DEVICE_GONE
    first, second = done.err.splitlines()
    assert told in first
    assert "counter.py hung up; the process of counter.py (pid " in second
    assert f") exited with {exit_codes.BAD_MODEL}" in second


def test_one_that_is_not_there(vm: Vm, counter: Path) -> None:
    counter.unlink()
    for process in (False, True):
        done = run("run", vm("lspci", devices=[{"model": "./counter.py", "process": process}]))
        done.refused(
            exit_codes.BAD_MODEL, f"devices[0]: model {counter}: no such file; check the path"
        )
