# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Labs that take long to start: the first of its kind, and after a snapshot has been damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyvmm.lab.session import Lab
from tests.conftest import ROOT, missing_for_lab

pytestmark = [
    pytest.mark.proof,
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.timeout(400),
]
LIMIT = 60


def test_a_broken_snapshot_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyvmm.lab import snapshot

    monkeypatch.setattr(snapshot, "cache_folder", lambda _: tmp_path)
    told: list[str] = []
    for _ in range(3):
        with Lab(progress=told.append) as lab:
            assert lab.run(["true"], timeout=LIMIT) == 0
        for state in tmp_path.glob("snapshots/*/state"):
            os.truncate(state, 1000)
    assert ["keeping a snapshot" in line for line in told] == [True, False, True]
    assert told[1].endswith("booting instead")


def test_amds_iommu_translates_dma_and_interrupts(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whatever QEMU it takes; older ones move other bytes, and lose interrupts."""
    monkeypatch.delenv("PYVMM_QEMU", raising=False)
    with Lab("edu,nvme", iommu="amd") as lab:
        for kind, address in lab.devices:
            argv = [sys.executable, f"examples/{kind}.py", address]
            assert lab.run(argv, cwd=str(ROOT), stdin=subprocess.DEVNULL, timeout=LIMIT) == 0
    out = capfd.readouterr().out
    assert "by DMA to the device and back: the same\n" in out
    assert "blocks of 512 bytes" in out
