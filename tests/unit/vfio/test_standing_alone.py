# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm.vfio is of use without the rest of pyvmm: it takes pyvmm.uapi, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

EVERYTHING = """
import pkgutil
import pyvmm.vfio

for found in pkgutil.walk_packages(pyvmm.vfio.__path__, "pyvmm.vfio."):
    module = __import__(found.name, fromlist=["all of it"])
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
print(pyvmm.vfio.__file__)
"""


def test_a_copy_of_the_two_is_whole(tmp_path: Path) -> None:
    for room in ("vfio", "uapi"):
        shutil.copytree(ROOT / "pyvmm" / room, tmp_path / "pyvmm" / room)
    done = subprocess.run(
        # Isolated: of what is installed there is only what Python itself brings along.
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path += {[str(tmp_path)]}{EVERYTHING}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == f"{tmp_path}/pyvmm/vfio/__init__.py\n"
