# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Machines for tests: closed in the end, with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from pyvmm.config import VmConfig, parse
from pyvmm.machine import Machine

LIMIT = 30.0  # seconds, for whatever should take milliseconds


class MakeMachine(Protocol):
    """make("hello", cpus=4): a machine for that guest; the keys are the config's."""

    def __call__(
        self, guest: str, notice: Callable[[str], None] = ..., /, **keys: object
    ) -> Machine: ...


@pytest.fixture
def config(guests: Path) -> Callable[..., VmConfig]:
    """config("hello", cpus=4): the config of a VM with that guest."""

    def config(guest: str, /, **keys: object) -> VmConfig:
        return parse({"kernel": str(guests / f"{guest}.elf"), **keys})

    return config


@pytest.fixture
def make(config: Callable[..., VmConfig], no_leaks: None) -> Iterator[MakeMachine]:
    with ExitStack() as machines:

        def make(
            guest: str, notice: Callable[[str], None] = lambda _: None, /, **keys: object
        ) -> Machine:
            return machines.enter_context(Machine(config(guest, **keys), notice))

        yield make
