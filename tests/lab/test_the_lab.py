# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab is what its profile says: kernel, IOMMU, devices."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.profiles import BY_NAME, KINDS


@pytest.mark.smoke
@pytest.mark.every_kernel
def test_the_kernel_is_the_profiles(profile: str) -> None:
    wanted = BY_NAME[profile].kernel
    if wanted == "newest":
        assert int(platform.release().split(".")[0]) >= 7
    else:
        assert platform.release().startswith(f"{wanted}.")


@pytest.mark.smoke
@pytest.mark.every_kernel
def test_devices_are_bound_and_alone_or_together(
    profile: str, lab_device: Callable[[str], str], lab_devices: Callable[[str], list[str]]
) -> None:
    for kind in KINDS:
        assert lab_device(kind) in lab_devices(kind)
    groups = sorted(path.name for path in Path("/dev/vfio").iterdir() if path.name[-1].isdigit())
    if BY_NAME[profile].iommu == "none":
        assert groups == [f"noiommu-{number}" for number in range(5)]
        return
    assert len(groups) == 4
    shared = Path("/sys/kernel/iommu_groups").glob("*/devices/*")
    in_groups = Counter(path.parts[-3] for path in shared if path.name in bound(lab_devices))
    assert sorted(in_groups.values()) == [1, 1, 1, 2]


def bound(lab_devices: Callable[[str], list[str]]) -> set[str]:
    return {address for kind in KINDS for address in lab_devices(kind)}


@pytest.mark.smoke
@pytest.mark.every_kernel
def test_nodes_that_the_back_ends_need_are_there(profile: str) -> None:
    backends = BY_NAME[profile].backends
    assert os.path.exists("/dev/vfio/vfio")
    assert os.path.exists("/dev/kvm")
    if "noiommu" not in backends:
        assert os.path.exists("/dev/iommu") == ("iommufd" in backends)
        assert os.path.exists("/dev/vfio/devices") == ("iommufd" in backends)
