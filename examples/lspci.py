#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What `lspci -vv` shows, read through VFIO: header, BARs, interrupts and all capabilities.

    python examples/lspci.py                            # all devices that vfio-pci has
    python examples/lspci.py 0000:01:00.0 /tmp/edu.sock # these

Nothing here knows a register: configuration space and its capabilities name their own, with the
fields in them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap

from pyvmm import vfio
from pyvmm.vfio.host import PciIds, functions
from pyvmm.vfio.pci import Bar, Capability, Flag, Register, Window, named_registers
from pyvmm.vfio.pci.conventional import Vendor
from pyvmm.vfio.pci.extended import SerialNumber, VendorExtended

# Of the header, what the first lines say in words.
IN_WORDS = ("bar", "subsystem", "vendor_id", "device_id", "class_revision")


def show(dev: vfio.PciDevice, names: PciIds) -> None:
    """Print a device."""
    config = dev.config
    vendor, device, kind = config.vendor_id, config.device_id, config.class_code
    label = join(names.vendor(vendor), names.device(vendor, device), f"[{vendor:04x}:{device:04x}]")
    print(f"{dev.name} {names.kind(kind)}: {label} (rev {config.revision_id:02x})")
    vendor_too, device_too = config.subsystem_vendor_id, config.subsystem_id
    name = names.subsystem(vendor, device, vendor_too, device_too) or names.vendor(vendor_too)
    print(f"    subsystem: {join(name, f'[{vendor_too:04x}:{device_too:04x}]')}")
    for index, bar in enumerate(dev.bars):
        if bar.size:
            print(f"    region {index}: {describe_bar(bar)}")
    if dev.rom.size:
        print(f"    ROM: {size_of(dev.rom.size)}")
    kinds = {"INTx": dev.intx, "MSI": dev.msi, "MSI-X": dev.msix, "error": dev.err}
    counts = [f"{name} {kind.count}" for name, kind in kinds.items() if kind.count]
    print(f"    interrupts: {', '.join(counts) or 'none'}")
    show_registers(config, "    ", skip=IN_WORDS)
    for capability in config.capabilities:
        show_capability(capability)
    print()


def join(*words: str) -> str:
    return " ".join(word for word in words if word)


def describe_bar(bar: Bar) -> str:
    if bar.io:
        return f"I/O ports, {size_of(bar.size)}"
    width = "64" if bar.wide else "32"
    prefetchable = "prefetchable" if bar.prefetchable else "non-prefetchable"
    areas = " and ".join(f"{area.start:#x} to {area.end - 1:#x}" for area in bar.areas)
    whole = len(bar.areas) == 1 and bar.areas[0].size == bar.size
    mapped = "all" if whole else areas or "none"
    return f"memory, {size_of(bar.size)}, {width}-bit, {prefetchable}; can be mapped: {mapped}"


def size_of(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def show_capability(capability: Capability) -> None:
    where = f"{capability.offset:03x}" if capability.extended else f"{capability.offset:02x}"
    version = f" v{capability.version}" if capability.extended else ""
    print(f"    capability [{where}{version}] {capability.name}")
    if isinstance(capability, SerialNumber):
        print(f"        {capability.serial.to_bytes(8).hex('-')}")
        return
    show_registers(capability, "        ")
    if isinstance(capability, Vendor | VendorExtended):
        print(f"        data: {capability.data.hex(' ')}")


def show_registers(window: Window, indent: str, skip: tuple[str, ...] = ()) -> None:
    """Print each register of a window by its name, with its fields by theirs."""
    for name, register in named_registers(window):
        if not name.startswith(skip):
            value = window.words(register.width)[register.offset]
            text = f"{name}: {describe(register, value)}"
            print(textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent + "  "))


def describe(register: Register, value: int) -> str:
    """A register's value, and what it says: flags with + or -, numbers with =."""
    words = [f"{value:#0{2 * register.width + 2}x}"]
    for name, field in register.fields.items():
        if isinstance(field, Flag):
            words.append(f"{name}{'+' if field.of(value) else '-'}")
        else:
            words.append(f"{name}={field.of(value):#x}")
    return " ".join(words)


def main() -> int:
    parser = argparse.ArgumentParser(description="Show PCI devices, read through VFIO.")
    parser.add_argument("where", nargs="*", help="PCI addresses or vfio-user sockets; else all")
    where = parser.parse_args().where
    where = where or [function.bdf for function in functions() if function.has_vfio_driver]
    if not where:
        sys.exit("lspci.py: error: vfio-pci has no device: give it one with `pyvmm bind`")
    names, status = PciIds.of_host(), 0
    for each in where:
        try:
            with vfio.open(each, bus_master=False) as dev:
                show(dev, names)
        except vfio.VfioError as error:
            print(f"lspci.py: error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, and no traceback tells
    sys.exit(main())
