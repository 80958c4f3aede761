# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Which QEMU it takes for a lab's devices and IOMMU, and what is told of one that is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyvmm._finding import Finding
from pyvmm.lab.devices import parse
from pyvmm.lab.emulator import PROGRAM
from pyvmm.lab.errors import LabError
from pyvmm.lab.findings import check
from pyvmm.lab.requirements import OLDEST, check_kernel, check_qemu, oldest_qemu

if TYPE_CHECKING:
    from pyvmm.debian.cache import Cache

    from .conftest import MakeProgram


@pytest.mark.parametrize(
    ("devices", "iommu", "oldest"),
    [
        ("", "intel", OLDEST),
        ("nvme,bridge(edu+e1000e)", "none", OLDEST),
        ("nvme,bridge(edu+igb)", "intel", (8, 0)),
        ("igb", "amd", (10, 2)),
    ],
)
def test_the_oldest_that_will_do(devices: str, iommu: str, oldest: tuple[int, int]) -> None:
    items = parse(devices)
    assert oldest_qemu(items, iommu) == oldest
    check_qemu(items, iommu, (*oldest, 0))


@pytest.mark.parametrize(
    ("devices", "iommu", "version", "told"),
    [
        ("edu,igb", "intel", (7, 2, 22), r"lab device igb: QEMU has it since 8\.0, .* 7\.2\.22"),
        ("edu", "amd", (10, 0, 2), r"IOMMU amd: QEMU has it since 10\.2, .* 10\.0\.2; take"),
    ],
)
def test_one_that_is_too_old_is_told(
    devices: str, iommu: str, version: tuple[int, ...], told: str
) -> None:
    with pytest.raises(LabError, match=told):
        check_qemu(parse(devices), iommu, version)


def test_without_an_iommu_a_kernel_needs_a_mode_for_that() -> None:
    for devices, iommu, features in (
        ("", "none", ()),
        ("edu", "none", ("noiommu",)),
        ("edu", "intel", ()),
    ):
        check_kernel(parse(devices), iommu, frozenset(features))
    with pytest.raises(LabError, match=r"no-IOMMU mode .*; take --iommu intel, or --kernel 6\.12"):
        check_kernel(parse("edu"), "none", frozenset(("iommufd",)))


def qemu(findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.subject == "QEMU")


def test_the_check_is_for_what_the_lab_is_to_have(cache: Cache, program: MakeProgram) -> None:
    program(PROGRAM, "echo QEMU emulator version 7.2.22")
    assert qemu(check()).ok
    for missing in (qemu(check(devices="igb")), qemu(check(iommu="amd"))):
        assert not missing.ok
        assert "pyvmm lab setup, with the same options" in missing.cure
    named = qemu(check(iommu="amd", qemu=PROGRAM))
    assert not named.ok
    assert "since 10.2" in named.text
