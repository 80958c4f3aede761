# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset_all(): each device the best way there is for it, and a bus only if all on it are ours."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import cast

import pytest

from pyvmm.uapi.vfio import (
    VFIO_DEVICE_FLAGS_RESET,
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
    VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
)
from pyvmm.vfio import DeviceError, DeviceGone, DeviceInfo
from pyvmm.vfio.kernel import DependentDevice, HotResetInfo, KernelDevice, NotReset, reset_all
from pyvmm.vfio.kernel.resets import reset_alone
from tests.unit.vfio.host.made_host import MadeHost

ONE, OTHER, APART = "0000:05:01.0", "0000:05:02.0", "0000:06:00.0"
GROUPS = {ONE: 4, OTHER: 4, APART: 5}


class Host:
    """Functions of two buses, and a log of what was reset by which call."""

    def __init__(self, made: MadeHost, *, cdevs: bool) -> None:
        self.made = made
        self.cdevs = cdevs
        self.log: list[str] = []
        self.open: dict[str, Resettable] = {}

    def add(
        self, bdf: str, methods: str | None, *, works: bool = True, group: int | None = None
    ) -> Resettable:
        number = GROUPS[bdf] if group is None else group
        self.made.function(bdf, driver="vfio-pci", group=number, reset=methods)
        flags = VFIO_DEVICE_FLAGS_RESET if methods and works else 0
        self.open[bdf] = Resettable(self, bdf, number, flags)
        return self.open[bdf]

    def reset_all(self) -> dict[str, str]:
        """Why some were not reset, by address."""
        failures = reset_all([cast(KernelDevice, device) for device in self.open.values()])
        return {device.name: str(error) for device, error in failures.items()}


class Resettable:
    """As much of a KernelDevice as it takes."""

    def __init__(self, host: Host, bdf: str, group: int, flags: int) -> None:
        self.name = bdf
        self.root = str(host.made.root)
        self.group = group
        self.kvm_file = 100 + group
        self.info = DeviceInfo(flags, 9, 5)
        self.refuse: Exception | None = None
        self.refuse_bus: DeviceError | None = None
        self._host = host

    def reset(self) -> None:
        if self.refuse:
            raise self.refuse
        self._host.log.append(self.name)

    def hot_reset_info(self) -> HotResetInfo:
        bus = self.name[:8]
        found = sorted((self._host.made.root / "sys/bus/pci/devices").glob(f"{bus}*"))
        ours = [path.name in self._host.open for path in found]
        flags = 0
        if self._host.cdevs:
            flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID
            flags |= VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED if all(ours) else 0
        return HotResetInfo(
            flags,
            tuple(
                DependentDevice(path.name, None, 7 if own else None)
                if self._host.cdevs
                else DependentDevice(path.name, int((path / "iommu_group").resolve().name), None)
                for path, own in zip(found, ours, strict=True)
            ),
        )

    def hot_reset(self, group_fds: tuple[int, ...]) -> None:
        if self.refuse_bus:
            raise self.refuse_bus
        self._host.log.append(f"bus {self.name[5:7]} {list(group_fds)}")


@pytest.fixture(params=["groups", "cdevs"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return Host(MadeHost(tmp_path), cdevs=request.param == "cdevs")


def fds(host: Host, *groups: int) -> list[int]:
    return [] if host.cdevs else [100 + group for group in groups]


@pytest.mark.parametrize("methods", ["flr bus", "bus", "device_specific pm", "acpi", "af_flr pm"])
def test_alone_where_that_is_good(host: Host, methods: str) -> None:
    host.add(APART, methods)
    assert host.reset_all() == {}
    assert host.log == [APART]


@pytest.mark.parametrize("methods", ["pm bus", "pm", None])
def test_with_its_bus_where_it_is_not(host: Host, methods: str | None) -> None:
    """pm is D3hot and back, after which not every device is as new."""
    host.add(APART, methods)
    assert host.reset_all() == {}
    assert host.log == [f"bus 06 {fds(host, 5)}"]


def test_a_reset_that_did_not_work_when_it_was_opened(host: Host) -> None:
    host.add(APART, "bus", works=False)
    assert host.reset_all() == {}
    assert host.log == [f"bus 06 {fds(host, 5)}"]


def test_two_on_a_bus_are_reset_once(host: Host) -> None:
    host.add(OTHER, "flr bus")
    host.add(ONE, None)
    host.add(APART, "flr")
    assert host.reset_all() == {}
    assert host.log == [f"bus 05 {fds(host, 4)}", APART]


def test_all_groups_of_a_bus_have_to_be_shown(host: Host) -> None:
    host.add(ONE, None)
    host.add(OTHER, None, group=9)
    assert host.reset_all() == {}
    assert host.log == [f"bus 05 {fds(host, 4, 9)}"]


@pytest.mark.parametrize(("driver", "group"), [("vfio-pci", 9), (None, 4)])
def test_not_with_a_bus_that_is_not_all_ours(host: Host, driver: str | None, group: int) -> None:
    host.made.function(OTHER, driver=driver, group=group)
    host.add(ONE, None)
    host.add(APART, "flr")
    failures = host.reset_all()
    assert list(failures) == [ONE]
    assert failures[ONE].startswith(
        "0000:05:01.0 can't be reset: hot reset, which resets 0000:05:02.0 too: EPERM"
    )
    assert "bind all on its bus to vfio-pci, and assign those of other" in failures[ONE]
    assert host.log == [APART], "the other one is reset all the same"


def test_what_is_second_best_is_tried_too(host: Host) -> None:
    by_pm = host.add(APART, "pm bus")
    by_pm.refuse_bus = DeviceError.answered(f"{APART}: hot reset", errno.ENOTTY)
    by_flr = host.add(ONE, "flr")
    by_flr.refuse = DeviceError.answered(f"{ONE}: reset", errno.EAGAIN)
    assert host.reset_all() == {}
    assert host.log == [APART, f"bus 05 {fds(host, 4)}"]


def test_nothing_works(host: Host) -> None:
    device = host.add(APART, "flr")
    device.refuse = DeviceError.answered(f"{APART}: reset", errno.EAGAIN)
    device.refuse_bus = DeviceError.answered(f"{APART}: hot reset", errno.ENODEV)
    failures = reset_all([cast(KernelDevice, device)])
    (error,) = failures.values()
    assert isinstance(error, NotReset)
    assert str(error) == (
        "0000:06:00.0 can't be reset: reset: EAGAIN (Resource temporarily unavailable); "
        "hot reset: ENODEV (No such device)"
    )


def test_one_that_has_gone(host: Host) -> None:
    gone = host.add(APART, "flr")
    gone.refuse = DeviceGone("unplugged")
    host.add(ONE, "flr")
    assert host.reset_all() == {APART: "unplugged"}
    assert host.log == [ONE]


# -- one of several, for a guest's reset of its bus ----------------------------------------------


@pytest.mark.parametrize("methods", ["flr", "pm", None])
def test_one_that_has_its_bus_for_itself(host: Host, methods: str | None) -> None:
    reset_alone(cast(KernelDevice, host.add(APART, methods)))
    assert host.log == [APART if methods == "flr" else f"bus 06 {fds(host, 5)}"]


def test_one_of_a_bus_never_takes_others_along(host: Host) -> None:
    """Although they are ours: the guest uses them, and has reset this one alone."""
    other = cast(KernelDevice, host.add(OTHER, "pm"))
    device = cast(KernelDevice, host.add(ONE, None))
    with pytest.raises(NotReset, match=f"hot reset, which resets {OTHER} too.*reset the whole VM"):
        reset_alone(device)
    assert host.log == []
    reset_alone(other)
    assert host.log == [OTHER]
