# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the tests of the ABI need: kernel headers, best the pinned ones, and a C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools.uapi.package import Pin, Unavailable, pinned_or_newest

TARGET = "x86_64-linux-gnu"


@pytest.fixture(scope="session")
def package() -> tuple[Pin, Path]:
    """The pinned package and its usr/include; once that is replaced, the newest one's."""
    try:
        return pinned_or_newest(Pin.load())
    except Unavailable as error:
        pytest.skip(f"no package of kernel headers: {error}")


@pytest.fixture(scope="session")
def include(package: tuple[Pin, Path]) -> Path:
    """The pinned package's usr/include."""
    pin = Pin.load()
    found, include = package
    if found != pin:
        pytest.skip(
            f"{pin.package} {pin.version} was replaced, by {found.version}; "
            "move the pin: python -m tools.uapi --repin"
        )
    return include


@pytest.fixture(scope="session")
def gcc() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run gcc on C source text, with the headers of a usr/include ahead of the system's."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc: apt-get install gcc libc6-dev")

    def run(
        include: Path, source: str, flags: Sequence[str | Path]
    ) -> subprocess.CompletedProcess[str]:
        roots = [f"-I{include}", f"-I{include / TARGET}"]
        # A function that nobody declared is a macro from a header that is not there.
        language = ["-std=gnu11", "-Werror=implicit-function-declaration"]
        return subprocess.run(
            ["gcc", *language, *roots, "-x", "c", *flags, "-"],
            env={**os.environ, "LC_ALL": "C"},
            input=source,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
