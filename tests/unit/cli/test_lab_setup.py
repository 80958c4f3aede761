# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm lab setup``, as it is ended in the middle: nothing runs on, and nothing half-made stays.

What it makes is made up: a package, which takes for ever to unpack.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = """
import sys
from pathlib import Path
from pyvmm.cli.main import main
from pyvmm.debian.apt import unpack
from pyvmm.debian.cache import Cache
from pyvmm.lab import assets

def prepare(**_):
    cache = Cache()
    with cache.locked(print), cache.staging() as staged:
        unpack([Path("made-up.deb")], staged)

assets.prepare = prepare
sys.exit(main())
"""


@pytest.fixture
def setup(tmp_path: Path) -> tuple[list[str], dict[str, str], Path]:
    """The command, its environment, and a FIFO in which dpkg-deb tells its number."""
    told = tmp_path / "told"
    os.mkfifo(told)
    program = tmp_path / "bin" / "dpkg-deb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntouch "$3/half"\necho $$ >{told}\nsleep 1000\ntrue\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    return [sys.executable, "-c", SETUP, "lab", "setup"], environment, told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_by_one_that_is_ended(
    setup: tuple[list[str], dict[str, str], Path], tmp_path: Path, number: signal.Signals
) -> None:
    """The signal is for pyvmm alone, as kill(1) sends it."""
    command, environment, told = setup
    staging = tmp_path / "cache/pyvmm/debian/staging"
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have us ignore some.
        preexec_fn=lambda: (
            signal.signal(number, signal.SIG_DFL) if number is not signal.SIGKILL else None
        ),
    ) as pyvmm:
        child = os.pidfd_open(int(told.read_text()))
        assert list(staging.glob("*/half"))
        pyvmm.send_signal(number)
        _, errors = pyvmm.communicate(timeout=30)
    assert errors == ""
    assert select.select([child], [], [], 30)[0]
    os.close(child)
    if number is signal.SIGKILL:
        assert pyvmm.returncode == -number
    else:
        assert pyvmm.returncode == 128 + number
        assert not list(staging.iterdir())
