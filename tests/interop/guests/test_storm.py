# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""storm under QEMU: every kind of storm ends, loses nothing, and reports in lines to parse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Run

pytestmark = pytest.mark.interop

RunGuest = Callable[..., Run]


def records(result: Run) -> list[dict[str, str]]:
    """The key=value lines."""
    return [
        dict(word.split("=", 1) for word in line.split()[1:])
        for line in result.lines
        if line.startswith("storm ")
    ]


def passed(result: Run) -> list[dict[str, str]]:
    assert not result.failed
    assert result.lines[-1] == "PASS"
    assert result.code == 0
    return records(result)


@pytest.mark.parametrize(
    ("mode", "target", "ops"),
    [
        ("pio", "port", ["out", "in"]),
        ("hole", "none", ["read", "write"]),
        ("mmio", "edu", ["read", "write"]),
        ("irq", "edu", ["raise"]),
    ],
)
def test_timed(run: RunGuest, mode: str, target: str, ops: list[str]) -> None:
    head, *rest = passed(run("storm", f"mode={mode} n=77", "-device", "edu"))
    assert head["cpus"] == "1"
    assert head["target"] == "edu"
    assert int(head["tsc_khz"]) > 100_000
    assert [(r["mode"], r["target"], r["op"], r["n"]) for r in rest] == [
        (mode, target, op, "77") for op in ops
    ]
    for record in rest:
        assert int(record["cycles"]) > 0
        assert int(record["ns_per_op"]) == int(record["ns"]) // 77


def test_all_cpus(run: RunGuest) -> None:
    head, whole, *cpus = passed(run("storm", "mode=smp n=100", "-smp", "4", "-device", "edu"))
    assert head["cpus"] == "4"
    assert whole["op"] == "round"
    assert cpus == [
        {"mode": "smp", "cpu": str(cpu), "ipis": "100", "irqs": "0", "lost": "0"}
        for cpu in range(4)
    ]


def test_all_modes_without_a_device(run: RunGuest) -> None:
    found = passed(run("storm", "n=5"))
    assert {r["mode"] for r in found if "mode" in r} == {"pio", "hole", "smp"}


def test_finds_cpus_without_acpi(run: RunGuest) -> None:
    head, *_ = passed(run("storm", "mode=smp n=5", "-M", "q35,acpi=off", "-smp", "3"))
    assert head["cpus"] == "3"


@pytest.mark.parametrize("mode", ["mmio", "mapped", "irq"])
def test_fails_without_the_device_it_needs(run: RunGuest, mode: str) -> None:
    result = run("storm", f"mode={mode}")
    assert result.lines[-1] == "FAIL: 1 check failed"
    assert result.code == 1


@pytest.mark.parametrize(
    ("append", "message"), [("mode=nothing", "unknown mode"), ("n=0", "n must not be 0")]
)
def test_panics_over_bad_options(run: RunGuest, append: str, message: str) -> None:
    result = run("storm", append)
    assert result.lines[-1] == f"panic: {message}"
    assert result.code == 2
