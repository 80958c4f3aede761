# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions beneath the host's consoles: display, serial lines, virtio ports."""

from __future__ import annotations

import os

from pyvmm.vfio.host import functions, sysfs

from .ancestry import functions_above
from .needs import Need


def console_needs(*, root: str | os.PathLike[str] = "/") -> list[Need]:
    """The display of the firmware, frame buffers that show a console, consoles' serial cards,
    and what has virtio ports.
    """
    host = os.fspath(root)
    needs = [
        Need("is the display that the host was booted with (boot VGA)", (frozenset({str(f)}),))
        for f in functions(root=host)
        if f.boot_vga
    ]
    needs += _frame_buffers(host)
    needs += _terminals(host)
    needs += _virtio_ports(host)
    return needs


def _frame_buffers(root: str) -> list[Need]:
    if not _console_is_on_a_frame_buffer(root):
        return []
    directory = os.path.join(root, "sys/class/graphics")
    needs = []
    for name in sysfs.listing(directory):
        if name.startswith("fb") and name[2:].isdigit():
            above = functions_above(os.path.join(directory, name), root=root)
            if above:
                needs.append(Need(f"shows the console ({name})", (above,)))
    return needs


def _console_is_on_a_frame_buffer(root: str) -> bool:
    consoles = os.path.join(root, "sys/class/vtconsole")
    return any(
        sysfs.read_number(os.path.join(consoles, name, "bind")) == 1
        and "frame buffer" in (sysfs.read_text(os.path.join(consoles, name, "name")) or "")
        for name in sysfs.listing(consoles)
    )


def _terminals(root: str) -> list[Need]:
    ttys = os.path.join(root, "sys/class/tty")
    active = (sysfs.read_text(os.path.join(ttys, "console/active")) or "").split()
    needs = []
    for name in active:
        above = functions_above(os.path.join(ttys, name), root=root)
        if name.startswith("hvc"):
            # An hvc is a virtual device: only the driver knows by which function it speaks.
            bound = os.path.join(root, "sys/bus/virtio/drivers/virtio_console")
            for device in sysfs.listing(bound):
                if device.startswith("virtio"):
                    above |= functions_above(os.path.join(bound, device), root=root)
        if above:
            needs.append(Need(f"carries the console {name}", (above,)))
    return needs


def _virtio_ports(root: str) -> list[Need]:
    """By what the hypervisor talks to this machine's agents and terminals.

    Whoever has one open may be in another container, or a kernel's console: what is there counts.
    """
    directory = os.path.join(root, "sys/class/virtio-ports")
    names: dict[frozenset[str], list[str]] = {}
    for port in sysfs.listing(directory):
        path = os.path.join(directory, port)
        above = functions_above(path, root=root)
        if above:
            names.setdefault(above, []).append(sysfs.read_text(os.path.join(path, "name")) or port)
    return [
        Need(f"carries ports that the hypervisor talks by ({', '.join(ports)})", (above,))
        for above, ports in names.items()
    ]
