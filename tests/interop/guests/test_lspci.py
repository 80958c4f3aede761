# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""lspci under QEMU: what the guest lists is what QEMU says there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from .conftest import Run, Running

pytestmark = pytest.mark.interop

DEVICES = (
    *("-device", "edu"),
    *("-device", "e1000e"),  # I/O, ROM, MSI-X, extended capabilities
    *("-device", "pci-testdev,membar=4G"),  # a 64-bit BAR that goes above 4 GiB
    *("-device", "pcie-root-port,id=down,chassis=1"),
    *("-device", "nvme,serial=1,bus=down"),  # behind a bridge
)

FUNCTION = re.compile(
    r"(?P<bus>..):(?P<device>..)\.(?P<function>.) (?P<ids>....:....) class (?P<class>......) "
    r"revision .. header type (?P<header>.)"
)
WINDOW = re.compile(r"    window: (.*) from (0x[0-9a-f]+) to (0x[0-9a-f]+)")
BUSES = re.compile(r"    buses (..) to (..)")
BAR = re.compile(r"    (?:bar (\d)|(rom)):? ?(.*) ?at (0x[0-9a-f]+), size (0x[0-9a-f]+)")
PIN = re.compile(r"    interrupt pin (.), line (\d+)")


class Bar(NamedTuple):
    io: bool
    wide: bool
    prefetchable: bool
    address: int
    size: int


class Bridge(NamedTuple):
    buses: tuple[int, int]
    windows: dict[str, tuple[int, int]]


class Function(NamedTuple):
    ids: str
    class_code: int
    pin: int
    line: int
    bars: dict[int, Bar]
    bridge: Bridge | None = None


def listed(lines: list[str]) -> dict[str, Function]:
    """What the guest's report says, by bus:device.function."""
    functions: dict[str, Function] = {}
    name = ""
    for line in lines:
        if found := FUNCTION.fullmatch(line):
            name = line.split()[0]
            functions[name] = Function(found["ids"], int(found["class"][:4], 16), 0, 0, {})
        elif found := PIN.fullmatch(line):
            pin, irq = ord(found[1]) - ord("A") + 1, int(found[2])
            functions[name] = functions[name]._replace(pin=pin, line=irq)
        elif found := BUSES.fullmatch(line):
            bridge = Bridge((int(found[1], 16), int(found[2], 16)), {})
            functions[name] = functions[name]._replace(bridge=bridge)
        elif found := WINDOW.fullmatch(line):
            behind = functions[name].bridge
            assert behind is not None
            behind.windows[found[1]] = int(found[2], 16), int(found[3], 16)
        elif found := BAR.fullmatch(line):
            kind = found[3].split()
            functions[name].bars[6 if found[2] else int(found[1])] = Bar(
                io="io" in kind,
                wide="mem64" in kind,
                prefetchable="prefetchable" in kind,
                address=int(found[4], 16),
                size=int(found[5], 16),
            )
    return functions


def known_bridge(bus: dict[str, Any]) -> Bridge:
    ranges = {
        "io": bus["io_range"],
        "memory": bus["memory_range"],
        "prefetchable memory": bus["prefetchable_range"],
    }
    return Bridge(
        (bus["secondary"], bus["subordinate"]),
        {
            kind: (window["base"], window["limit"])
            for kind, window in ranges.items()
            if window["base"] < window["limit"]
        },
    )


def known(buses: list[dict[str, Any]]) -> Iterator[tuple[str, Function]]:
    """The same out of QEMU's query-pci."""
    for bus in buses:
        for device in bus["devices"]:
            bridge = device.get("pci_bridge")
            bars = {
                region["bar"]: Bar(
                    io=region["type"] == "io",
                    wide=region.get("mem_type_64", False),
                    prefetchable=region.get("prefetch", False),
                    address=region["address"],
                    size=region["size"],
                )
                for region in device["regions"]
            }
            yield (
                f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}",
                Function(
                    f"{device['id']['vendor']:04x}:{device['id']['device']:04x}",
                    device["class_info"]["class"],
                    device["irq_pin"],
                    device["irq"] if device["irq_pin"] else 0,
                    bars,
                    known_bridge(bridge["bus"]) if bridge else None,
                ),
            )
            if bridge:
                yield from known([bridge])


def test_lists_what_is_there(start: Callable[..., Running]) -> None:
    running = start("lspci", "", *DEVICES)
    running.monitor.wait_event("SHUTDOWN")
    lines = running.serial.read_text().splitlines()
    functions = listed(lines)
    expected = dict(known(running.monitor.command("query-pci")))

    assert functions.keys() == expected.keys()
    for name, function in functions.items():
        theirs = expected[name]
        assert function._replace(bars={}) == theirs._replace(bars={})
        assert function.bars.keys() == theirs.bars.keys(), name
        for index, bar in function.bars.items():
            # To QEMU a ROM that is not enabled has no address, and a prefetchable one is one.
            if index == 6:
                assert bar.size == theirs.bars[6].size
            else:
                assert bar == theirs.bars[index], (name, index)
    assert max(bar.address for f in functions.values() for bar in f.bars.values()) >= 1 << 32
    (bridge,) = (function.bridge for function in functions.values() if function.bridge)
    assert bridge.buses == (1, 1)
    assert bridge.windows.keys() == {"memory", "prefetchable memory"}
    assert any(name.startswith("01:") for name in functions), "the bus behind the bridge"
    assert f"functions: {len(expected)}" in lines
    assert lines[-1] == "PASS"


def test_lists_capabilities(run: Callable[..., Run]) -> None:
    lines = run("lspci", "", "-device", "e1000e").lines
    start = next(i for i, line in enumerate(lines) if "8086:10d3" in line)
    block = []
    for line in lines[start + 1 :]:
        if not line.startswith("    "):
            break
        block.append(line)
    assert [line.strip() for line in block if "capability" in line] == [
        "capability 0xc8: 0x01 power management",
        "capability 0xd0: 0x05 MSI, messages 1, 64-bit",
        "capability 0xe0: 0x10 PCI Express",
        "capability 0xa0: 0x11 MSI-X, vectors 5, table in bar 3 at 0x0, pba in bar 3 at 0x2000",
        "extended capability 0x100: 0x0001 advanced error reporting, version 2",
        "extended capability 0x140: 0x0003 device serial number, version 1",
    ]


def test_bridges_do_what_they_do_under_pyvmm(run: Callable[..., Run]) -> None:
    """Which pyvmm's own tests have run with the same option."""
    options = (
        *("-device", "pcie-root-port,id=first,chassis=1", "-device", "edu,bus=first"),
        *("-device", "pcie-root-port,id=second,chassis=2", "-device", "e1000e,bus=second"),
    )
    result = run("lspci", "bridges", *options)
    assert result.code == 0, result.failed
    for device in ("01:00.0", "02:00.0"):
        done = [line for line in result.lines if line.startswith(f"  ok   {device}")]
        assert len(done) == 1 + 9, "by ports and by ECAM, and each of bridges"


def test_ports_and_ecam_agree(run: Callable[..., Run]) -> None:
    result = run("lspci", "", *DEVICES)
    agree = [line for line in result.lines if line.endswith("by ports and by ECAM")]
    assert len(agree) == len(listed(result.lines))
    assert result.code == 0


def test_works_without_ecam(run: Callable[..., Run]) -> None:
    """The older machine type has only ports; its I/O BARs are as small as 16 bytes."""
    result = run("lspci", "", "-M", "pc", "-device", "edu")
    functions = listed(result.lines)
    assert "1234:11e8" in {f.ids for f in functions.values()}
    assert not any("ECAM" in line for line in result.lines)
    assert min(bar.size for f in functions.values() for bar in f.bars.values()) == 16
    assert result.code == 0
