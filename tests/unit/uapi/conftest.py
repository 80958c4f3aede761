# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the tests of the ABI need: the pinned kernel headers and a C compiler."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools.uapi.package import Pin, Unavailable, include_folder

TARGET = "x86_64-linux-gnu"


@pytest.fixture(scope="session")
def include() -> Path:
    """The pinned package's usr/include."""
    try:
        return include_folder(Pin.load())
    except Unavailable as error:
        pytest.skip(f"no kernel headers: {error}")


@pytest.fixture(scope="session")
def gcc(include: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run gcc on C source text, with the pinned headers ahead of the system's."""
    if platform.machine() != "x86_64":
        pytest.skip("the ABI is x86-64's: run this test there")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc: apt-get install gcc libc6-dev")

    def run(source: str, flags: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        roots = [f"-I{include}", f"-I{include / TARGET}"]
        return subprocess.run(
            ["gcc", "-std=gnu11", "-w", *roots, "-x", "c", *flags, "-"],
            input=source,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
