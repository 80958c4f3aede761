# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What people are told who boot Linux where KVM emulates each of its instructions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bzimages import bzimage
from tests.kvm.machine.conftest import MakeMachine

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize("linux", [True, False])
@pytest.mark.parametrize("runs", [True, False])
def test_linux_on_a_kvm_that_emulates(
    make: MakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: bool, linux: bool
) -> None:
    """By what the kernel's image says; whatever boots it, and with an initrd or not."""
    monkeypatch.setattr("pyvmm.machine.hardware.runs_guests", lambda: runs)
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(bzimage())
    notices: list[str] = []
    vm = make("hello", notices.append, **({"kernel": str(kernel)} if linux else {}))
    vm.build()
    assert [("`pyvmm run --lab`" in notice) for notice in notices] == [True] * (linux and not runs)
