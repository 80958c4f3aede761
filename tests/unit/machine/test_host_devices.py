# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""HostDevices: one DMA space for all devices that can share it, and none without an IOMMU."""

from __future__ import annotations

import pytest

from pyvmm.machine import host_devices
from pyvmm.machine.host_devices import HostDevices
from pyvmm.vfio import HostDeviceUnavailable

BACKENDS = {
    "0000:01:00.0": "iommufd",
    "0000:02:00.0": "type1v2",
    "0000:03:00.0": "iommufd",
    "0000:04:00.0": "noiommu",
}


class FakeSpace:
    def __init__(self, backend: str | None, log: list[str]) -> None:
        self.backend = backend
        self.log = log
        log.append(f"open {backend}")

    def open_device(self, address: str) -> str:
        return f"{address} by {self.backend}"

    def close(self) -> None:
        self.log.append(f"close {self.backend}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log: list[str] = []
    monkeypatch.setattr(host_devices, "best_backend", BACKENDS.__getitem__)
    monkeypatch.setattr(host_devices, "open_space", lambda backend: FakeSpace(backend, log))
    return log


def test_each_has_the_back_end_that_suits_it(log: list[str]) -> None:
    """Whatever the first one has: a device without a cdev can't join iommufd."""
    with HostDevices() as host:
        opened = [host.open(address) for address in list(BACKENDS)[:3]]
        assert [str(device) for device in opened] == [
            "0000:01:00.0 by iommufd",
            "0000:02:00.0 by type1v2",
            "0000:03:00.0 by iommufd",
        ]
        assert log == ["open iommufd", "open type1v2"]
    assert sorted(log[2:]) == ["close iommufd", "close type1v2"]
    host.close()
    assert len(log) == 4


def test_without_an_iommu_there_is_none_for_a_guest(log: list[str]) -> None:
    with HostDevices() as host, pytest.raises(HostDeviceUnavailable, match="has no IOMMU"):
        host.open("0000:04:00.0")
    assert log == []
