# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm doctor: what it prints, and its statuses."""

from __future__ import annotations

import json

import pytest

import pyvmm.doctor
from pyvmm._finding import Finding
from pyvmm.cli import exit_codes
from pyvmm.cli.main import main

Capture = pytest.CaptureFixture[str]
FINE = Finding("IOMMU", True, "dmar0")
LESS = Finding("iommufd", False, "none", "another kernel", needed=False)
BAD = Finding("DMA", False, "no container", "load it")


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([FINE], exit_codes.OK),
        ([FINE, LESS], exit_codes.OK),
        ([FINE, BAD, LESS], exit_codes.HOST_DEVICE),
    ],
)
def test_statuses(
    findings: list[Finding], status: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(pyvmm.doctor, "examine", lambda: findings)
    assert main(["doctor"]) == status
    assert capsys.readouterr().out.splitlines() == [str(finding) for finding in findings]
    assert main(["doctor", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert [Finding(**one) for one in told] == findings


def test_a_finding_as_people_read_it() -> None:
    assert str(FINE) == "IOMMU:          ok:      dmar0"
    assert str(LESS) == "iommufd:        without: none; another kernel"
    assert str(BAD) == "DMA:            missing: no container; load it"
