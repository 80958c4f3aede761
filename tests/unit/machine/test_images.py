# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Where a machine has its kernel and initrd from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pyvmm.config import VmConfig, parse
from pyvmm.debian.errors import Unreachable
from pyvmm.machine import Machine
from pyvmm.machine.images import are_files, find_images

FOUND = ("/cache/vmlinux", "/cache/initramfs.cpio")


def never(_: str) -> None:
    raise AssertionError("there is nothing to tell")


@pytest.mark.parametrize(
    ("keys", "files"),
    [
        ({"kernel": "/a"}, ("/a", None)),
        ({"kernel": "/a", "initrd": "/b"}, ("/a", "/b")),
        ({"firmware": "/a"}, (None, None)),
    ],
)
def test_files_are_what_they_are(
    keys: dict[str, object], files: tuple[str | None, str | None]
) -> None:
    assert are_files(parse(keys))
    assert find_images(parse(keys), never) == files


@pytest.mark.parametrize(
    "keys",
    [
        {"kernel": "debian:6.12"},
        {"kernel": "debian:6.12", "initrd": "/b"},
        {"kernel": "/a", "initrd": {}},
    ],
)
def test_others_are_made_to_be_files_and_each_step_is_told_once(
    keys: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(config: VmConfig, progress: Callable[[str], None]) -> tuple[str, str]:
        for line in ("fetching it: 1 %", "fetching it: 99 %", "unpacking it"):
            progress(line)
        return FOUND

    monkeypatch.setattr("pyvmm.linux.images.prepare", prepare)
    told: list[str] = []
    assert not are_files(parse(keys))
    assert find_images(parse(keys), told.append) == FOUND
    assert told == ["fetching it", "unpacking it"]


def test_a_machine_without_them_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*_: object) -> tuple[str, str]:
        raise Unreachable("there is no network")

    monkeypatch.setattr("pyvmm.linux.images.prepare", prepare)
    # The time limit is the guest's: to fetch its images may take longer.
    machine = Machine(parse({"kernel": "debian:6.12", "timeout": 0.001}))
    with machine, pytest.raises(Unreachable, match="there is no network"):
        machine.build()


def test_a_machine_of_files_imports_nothing_for_it() -> None:
    program = """
import sys
from pyvmm.machine.images import find_images
from pyvmm.config import parse
config = parse({"kernel": "/a", "initrd": "/b"})
before = set(sys.modules)
find_images(config, print)
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
