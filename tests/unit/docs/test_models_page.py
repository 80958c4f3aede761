# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/models.md: a device is moved as the page shows. The rest of the page takes a guest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kvm.docs.conftest import ROOT, blocks, check_output, run

(MOVE,) = (block for block in blocks("models.md", "python") if block.name == "move.py")
PATHS = "/tmp/edu.sock", "/tmp/other.sock"


def test_a_device_is_moved(tmp_path: Path) -> None:
    """By the very command that the page names."""
    page = (ROOT / "docs" / "models.md").read_text()
    command, program = f"serve edu --socket {PATHS[0]} edu --socket {PATHS[1]}", MOVE.code
    assert f"`pyvmm {command}`" in page
    for path in PATHS:
        ours = str(tmp_path / path.rpartition("/")[2])
        command, program = command.replace(path, ours), program.replace(path, ours)
    server = [sys.executable, "-m", "pyvmm", *command.split()]
    with subprocess.Popen(server, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            for _ in PATHS:
                assert "is served" in process.stderr.readline()
            status, output = run(["-c", program])
        finally:
            process.terminate()
    assert status == 0, output
    check_output(MOVE.output, output)
