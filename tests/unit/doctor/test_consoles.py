# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The display and the lines that a host's console is on."""

from __future__ import annotations

import pytest

from pyvmm.doctor import HostUsage
from pyvmm.vfio.host import HostFunction
from tests.unit.vfio.host.made_host import MadeHost

CARD = "0000:01:00.0"


@pytest.fixture
def card(host: MadeHost) -> str:
    return host.function(CARD)


def losses(host: MadeHost) -> list[str]:
    return [
        str(loss)
        for loss in HostUsage(root=host.root, environ={}).losses(
            [HostFunction(CARD, root=host.root)]
        )
    ]


def test_the_display_of_the_firmware(host: MadeHost, card: str) -> None:
    host.file(f"{card}/boot_vga", "0\n")
    assert losses(host) == []
    host.file(f"{card}/boot_vga", "1\n")
    assert losses(host) == [f"{CARD} is the display that the host was booted with (boot VGA)"]


def test_a_frame_buffer_that_shows_a_console(host: MadeHost, card: str) -> None:
    host.file(f"{card}/graphics/fb0/dev", "29:0")
    host.link("sys/class/graphics/fb0", f"{card}/graphics/fb0")
    host.file("sys/class/graphics/fbcon/rotate", "0")
    console = "sys/class/vtconsole/vtcon1"
    host.file(f"{console}/name", "(M) frame buffer device\n")
    host.file(f"{console}/bind", "0\n")
    assert losses(host) == []
    host.file(f"{console}/bind", "1\n")
    assert losses(host) == [f"{CARD} shows the console (fb0)"]


def test_a_serial_card(host: MadeHost, card: str) -> None:
    host.file(f"{card}/tty/ttyS4/dev", "4:68")
    host.link("sys/class/tty/ttyS4", f"{card}/tty/ttyS4")
    host.file("sys/class/tty/console/active", "tty0\n")
    assert losses(host) == []
    host.file("sys/class/tty/console/active", "tty0 ttyS4\n")
    assert losses(host) == [f"{CARD} carries the console ttyS4"]


def test_virtio_console(host: MadeHost, card: str) -> None:
    """An hvc is no device of the function's as sysfs shows it."""
    host.file(f"{card}/virtio1/status", "0xf")
    host.link("sys/bus/virtio/drivers/virtio_console/virtio1", f"{card}/virtio1")
    host.file("sys/devices/virtual/tty/hvc0/dev", "229:0")
    host.link("sys/class/tty/hvc0", "sys/devices/virtual/tty/hvc0")
    host.file("sys/class/tty/console/active", "hvc0\n")
    assert losses(host) == [f"{CARD} carries the console hvc0"]


def test_virtio_ports(host: MadeHost, card: str) -> None:
    """Agents, and a lab's commands, are talked to by them; some have names."""
    for port in ("vport1p1", "vport1p2"):
        host.file(f"{card}/virtio1/virtio-ports/{port}/dev", "243:1")
        host.link(f"sys/class/virtio-ports/{port}", f"{card}/virtio1/virtio-ports/{port}")
    host.file(f"{card}/virtio1/virtio-ports/vport1p1/name", "org.qemu.guest_agent.0\n")
    assert losses(host) == [
        f"{CARD} carries ports that the hypervisor talks by (org.qemu.guest_agent.0, vport1p2)"
    ]


def test_virtio_serial_without_ports(host: MadeHost, card: str) -> None:
    host.file(f"{card}/virtio1/status", "0xf")
    host.link("sys/bus/virtio/drivers/virtio_console/virtio1", f"{card}/virtio1")
    assert losses(host) == []
