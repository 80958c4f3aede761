# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""PCI functions as a made-up sysfs tells of them."""

from __future__ import annotations

import pytest

from pyvmm.vfio import Interval
from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import HostFunction, functions, is_address
from tests.unit.vfio.host.made_host import MadeHost


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("0000:01:00.0", "0000:01:00.0"),
        ("01:00.0", "0000:01:00.0"),
        ("0000:01:00.0\n", "0000:01:00.0"),
        ("0000:01:0A.0", "0000:01:0a.0"),
        ("10000:01:00.0", "10000:01:00.0"),
    ],
)
def test_an_address_as_people_write_it(text: str, full: str, host: MadeHost) -> None:
    host.function(full)
    assert HostFunction(text, root=host.root).bdf == full


@pytest.mark.parametrize(
    "text",
    ["", "1:2", "00:00", "0000:01:00.8", "0000:01:20.0", "0000:1:00.0", "../:01:00.0", "nvme0"],
)
def test_what_is_no_address(text: str, host: MadeHost) -> None:
    assert not is_address(text)
    with pytest.raises(HostDeviceUnavailable, match="is no PCI address; one looks like 0000:01"):
        HostFunction(text, root=host.root)


def test_one_that_is_not_there(host: MadeHost) -> None:
    with pytest.raises(HostDeviceUnavailable, match="no PCI device 0000:01:00"):
        HostFunction("01:00.0", root=host.root)


def test_what_sysfs_tells(host: MadeHost) -> None:
    host.function("0000:01:00.0", driver="e1000e", group=14)
    function = HostFunction("01:00.0", root=host.root)
    assert (function.vendor, function.device) == (0x8086, 0x10D3)
    assert (function.subsystem_vendor, function.subsystem_device) == (0x8086, 1)
    assert (function.class_code, function.revision) == (0x020000, 1)
    assert not function.is_bridge
    assert function.driver == "e1000e"
    assert function.driver_override is None
    assert function.group == 14
    assert function.reset_methods == ("flr", "bus")
    assert function.numa_node is None
    assert not function.boot_vga
    assert not function.has_vfio_driver
    assert function.vfio_cdev is None
    (bar,) = function.resources
    assert (bar.number, bar.range) == (0, Interval(0xFE000000, 0xFE020000))
    assert (bar.kind, bar.prefetchable) == ("mem32", False)


def test_what_sysfs_lacks(host: MadeHost) -> None:
    """A function that goes while it is asked, and a kernel that tells less."""
    path = host.root / host.function("0000:01:00.0", reset=None)
    function = HostFunction("01:00.0", root=host.root)
    assert function.group is None
    assert not function.reset_methods
    (path / "reset").touch()
    assert function.reset_methods == ("unknown",)
    for name in ("vendor", "class", "config", "resource"):
        (path / name).unlink()
    assert function.vendor == 0xFFFF
    assert function.class_code == 0
    assert not function.is_bridge
    assert function.resources == ()


def test_what_no_kernel_writes_is_passed_over(host: MadeHost) -> None:
    path = host.function("0000:01:00.0", driver="e1000e", group=14)
    host.file(f"{path}/resource", "1 2\nx y z\n\n0x1000 0x1fff 0x200\n1 2 3 4\n")
    host.file(f"{path}/numa_node", "near\n")
    function = HostFunction("01:00.0", root=host.root)
    assert [(bar.number, bar.range) for bar in function.resources] == [(3, Interval(4096, 8192))]
    assert function.numa_node is None


def test_bridges_are_known_by_their_header(host: MadeHost) -> None:
    host.function("0000:00:01.0", header=0x81)
    assert HostFunction("00:01.0", root=host.root).is_bridge


def test_virtual_functions_and_their_physical_one(host: MadeHost) -> None:
    host.function("0000:01:00.0")
    vfs = [f"0000:01:{16 + n // 8:02x}.{n % 8}" for n in range(12)]
    for number, vf in enumerate(vfs):
        host.virtual_function("0000:01:00.0", number, vf)
    assert HostFunction("01:00.0", root=host.root).virtual_functions == tuple(vfs)
    assert HostFunction(vfs[3], root=host.root).physical_function == "0000:01:00.0"
    assert HostFunction("01:00.0", root=host.root).physical_function is None


def test_a_device_cdev_is_there_if_the_kernel_has_them(host: MadeHost) -> None:
    path = host.function("0000:01:00.0", driver="mlx5_vfio_pci", group=3)
    function = HostFunction("01:00.0", root=host.root)
    host.file(f"{path}/vfio-dev/vfio7/uevent", "")
    assert function.has_vfio_driver
    assert function.vfio_cdev is None
    host.file(f"{path}/vfio-dev/vfio7/dev", "511:7")
    assert function.vfio_cdev == str(host.root / "dev/vfio/devices/vfio7")


def test_all_of_a_host(host: MadeHost) -> None:
    for bdf in ("0000:02:00.0", "0000:01:00.0", "10000:e1:00.0"):
        host.function(bdf)
    (host.root / "sys/bus/pci/devices/nonsense").mkdir()
    found = functions(root=host.root)
    assert [str(function) for function in found] == [
        "0000:01:00.0",
        "0000:02:00.0",
        "10000:e1:00.0",
    ]
    assert found[0] == HostFunction("01:00.0", root=host.root)
    assert len({*found, HostFunction("01:00.0", root=host.root)}) == 3


def test_a_host_without_pci(host: MadeHost) -> None:
    assert functions(root=host.root / "nowhere") == []
