# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A host whose /dev/kvm is of no use: `make demo` says so, and does what it does in the lab."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, missing_for_lab
from tests.kvm.docs.conftest import blocks, check_output

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.timeout(400),
]
DEMO, *_ = blocks("../README.md", "text")
HIDING = 'mount --bind /dev/null /dev/kvm && exec "$@"'


@pytest.fixture(scope="module")
def hiding() -> list[str]:
    """The beginning of a command for which /dev/kvm is no KVM."""
    if not os.path.exists("/dev/kvm"):
        return []
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *user, "sh", "-c", HIDING, "sh"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"/dev/kvm can't be hidden here: {tried.stderr.strip()}; run it as root")
    return command


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ("hello.yaml", "...\nPASS\n"),
        pytest.param("edu.yaml", DEMO.code, marks=pytest.mark.proof),
    ],
)
def test_a_vm_runs_in_the_lab_then(hiding: list[str], config: str, shown: str) -> None:
    assert "pyvmm run --lab-without-kvm configs/edu.yaml" in (ROOT / "Makefile").read_text()
    command = [sys.executable, "-m", "pyvmm", "run", "--lab-without-kvm", f"configs/{config}"]
    done = subprocess.run(
        [*hiding, *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    check_output(shown, done.stdout)
    why, then, *_ = done.stderr.splitlines()
    assert "/dev/kvm" in why
    assert then == "pyvmm: so the VM runs in the lab, a machine in software, which takes longer"
