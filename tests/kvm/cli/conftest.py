# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command line as a user has it: a process, its streams, and its exit status."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

LIMIT = 30.0  # seconds, for whatever should take milliseconds
PYVMM = (sys.executable, "-m", "pyvmm")
PIPE = subprocess.PIPE


# What to do follows the cause: behind a semicolon or colon, as what was expected, or as a question.
CURE = re.compile(
    r"; |expected |did you mean |it has to be |: (check|give|name|use|raise|echo|start|stop) "
)


class Done(NamedTuple):
    """A pyvmm that has ended."""

    status: int
    out: str
    err: str

    def refused(self, status: int, *parts: str) -> None:
        """It has said why in one line, which has all these parts, and nothing else."""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("pyvmm: error: ")
        assert CURE.search(self.err), f"no cure: {self.err}"
        for part in parts:
            assert part in self.err
        assert self.out == ""
        assert self.status == status


@pytest.fixture(autouse=True)
def _signals_as_in_the_foreground() -> Iterator[None]:
    """A shell has what it runs in the background ignore SIGINT, and so would what we start."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number, handler in handlers.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for setting in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(setting, raising=False)


def run(*args: str | Path, stdin: str | None = None, **options: Any) -> Done:
    """Run a pyvmm to its end. Without stdin, that is empty."""
    streams: dict[str, Any] = (
        {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    )
    done = subprocess.run(
        [*PYVMM, *args],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        **{**streams, **options},
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def vm(guests: Path, tmp_path: Path) -> Callable[..., Path]:
    """vm("hello", cpus=4): the path of a config for that guest."""
    numbers = itertools.count()

    def vm(guest: str = "hello", /, **keys: object) -> Path:
        path = tmp_path / f"vm{next(numbers)}.yaml"
        config = {"kernel": str(guests / f"{guest}.elf"), **keys}
        path.write_text(
            json.dumps({key: value for key, value in config.items() if value is not None})
        )
        return path

    return vm


class Start:
    """start("run", config): a pyvmm that runs, with pipes; killed in the end if it has to be."""

    def __init__(self, processes: ExitStack) -> None:
        self._processes = processes

    def __call__(
        self, *args: str | Path, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        streams = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, **options}
        process = subprocess.Popen(
            [*PYVMM, *args], text=True, env={**os.environ, **(env or {})}, **streams
        )
        self._processes.enter_context(process)
        self._processes.callback(process.kill)
        return process


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as processes:
        yield Start(processes)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it writes to stdout, up to a line that has text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it has ended without saying {text!r}: {said}")


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for its end."""
    out, err = process.communicate(timeout=LIMIT)
    return Done(process.returncode, out, err)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found
