# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""QEMU with a vfio-user client, and servers for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pyvmm.debian.cache import Cache
from pyvmm.debian.errors import DebianError
from pyvmm.lab.emulator import fetch_emulator, find_emulator
from pyvmm.lab.errors import LabError
from tests.conftest import QEMU

LIMIT = 60.0  # seconds


class Qemu(NamedTuple):
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """What its own is to have besides."""


@pytest.fixture(scope="session")
def qemu_client() -> Qemu:
    """The first QEMUs that have vfio-user-pci are 10.1: PYVMM_QEMU's, or the newest of Debian's.

    That one is fetched and unpacked, once.
    """
    if "PYVMM_QEMU" in os.environ:
        qemu = Qemu(tuple(QEMU), {})
    else:
        cache = Cache()
        try:
            found = find_emulator(cache, "newest")
            if found is None:
                with cache.locked(_silent):
                    found = find_emulator(cache, "newest") or fetch_emulator(
                        cache, "newest", _silent
                    )
        except (DebianError, LabError) as error:
            pytest.skip(f"no QEMU with a vfio-user client: {error}")
        qemu = Qemu(found.command, found.environment)
    try:
        asked = [*qemu.command, "-device", "vfio-user-pci,help"]
        done = subprocess.run(
            asked,
            env={**os.environ, **qemu.environment},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except OSError as error:
        pytest.skip(f"{QEMU[0]}: {error.strerror}")
    if "socket=" not in done.stdout:  # a device that is not there is no failure to old ones
        pytest.skip(f"{QEMU[0]} has no vfio-user-pci; let PYVMM_QEMU name QEMU 10.1 or newer")
    return qemu


def _silent(_: str) -> None:
    pass


Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve("edu", "--option", "dma_mask=1"): a server of its own; the -device option for it."""
    servers: list[subprocess.Popen[str]] = []

    def serve(model: str, *options: str) -> str:
        path = str(tmp_path / model)
        server = subprocess.Popen(
            [sys.executable, "-m", "pyvmm", "serve", model, "--socket", path, *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(server)
        assert server.stderr
        assert "is served" in server.stderr.readline()
        return client_at(path)

    yield serve
    for server in servers:
        server.terminate()
        _, complaints = server.communicate(timeout=LIMIT)
        assert not complaints
        assert server.returncode == 0


def client_at(path: str) -> str:
    """The -device option for the server at a path."""
    where = {"type": "unix", "path": path}
    return json.dumps({"driver": "vfio-user-pci", "socket": where, "addr": "01.0"})
