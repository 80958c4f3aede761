# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""bind() refuses what the host can't do without, if HostUsage is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from pyvmm.doctor import HostUsage, NeededByHost
from pyvmm.vfio.host import HostFunction, bind
from tests.unit.vfio.host.made_host import MadeHost

NIC, SOUND = "0000:01:00.0", "0000:01:00.1"


@pytest.fixture(autouse=True)
def card(host: MadeHost) -> str:
    """A card of two functions in one group; the path of the first."""
    path = host.function(NIC, driver="e1000e", group=14)
    host.function(SOUND, driver="snd_hda_intel", group=14, class_code=0x040300)
    return path


def take(host: MadeHost, bdf: str, *, whole_group: bool = False) -> None:
    def allow(taken: Sequence[HostFunction]) -> None:
        HostUsage(root=host.root, environ={}).check(taken)

    bind([bdf], whole_group=whole_group, allow=allow, root=host.root)


@pytest.mark.parametrize("asked", [NIC, SOUND])
def test_all_that_is_to_be_taken_counts(host: MadeHost, card: str, asked: str) -> None:
    host.interface("eth0", card)
    host.routes(("eth0", "0.0.0.0/0", 0))
    with pytest.raises(NeededByHost, match=f"{NIC} carries the only network route") as refused:
        take(host, asked, whole_group=True)
    assert refused.value.cure == "move it elsewhere first, or take it with --force"
    assert host.driver_of(asked) in ("e1000e", "snd_hda_intel")
    take(host, SOUND)
    assert host.driver_of(SOUND) == "vfio-pci"


def test_a_physical_function_in_use(host: MadeHost) -> None:
    host.virtual_function(NIC, 0, "0000:01:10.0", group=16)
    path = re.escape(f"{host.root}/sys/bus/pci/devices/{NIC}/sriov_numvfs")
    with pytest.raises(NeededByHost, match=rf"has virtual functions \(1\), .*{path}"):
        take(host, NIC)
    take(host, "0000:01:10.0")
    assert host.driver_of("0000:01:10.0") == "vfio-pci"
