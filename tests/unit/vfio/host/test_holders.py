# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Who has a file open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyvmm.vfio.host import held_by, holders, who_is_busy
from tests.unit.vfio.host.made_host import MadeHost


def test_in_a_made_up_host(host: MadeHost) -> None:
    host.process(42, "qemu-system-x86", "/dev/null", "/dev/vfio/14")
    host.process(7, "pyvmm", "/dev/vfio/14", "/dev/vfio/14")
    host.process(9, "bash", "/dev/vfio/1", "/dev/vfio/140")
    path = str(host.root / "dev/vfio/14")
    found = holders(path, root=host.root)
    assert [(holder.pid, holder.command) for holder in found] == [
        (7, "pyvmm"),
        (42, "qemu-system-x86"),
    ]
    told = held_by(path, root=host.root)
    assert "qemu-system-x86 (process 42 of " in told
    assert who_is_busy(path, root=host.root) == f"{told}; end that first"


def test_of_this_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w"):
        (me,) = holders(str(path))
    assert (me.pid, me.user) == (os.getpid(), os.geteuid())
    assert str(me) == "this process"
    assert holders(str(path)) == ()


def test_a_file_that_nobody_seems_to_have(host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(host.root / "dev/vfio/14")
    assert held_by(path, root=host.root) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "another user's process; root can see" in who_is_busy(path, root=host.root)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "can't be seen from here" in who_is_busy(path, root=host.root)
