# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the lab's package offers, and what a Lab says that doesn't run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pyvmm import lab
from pyvmm.lab import Lab, LabError


def test_the_package_has_what_it_says() -> None:
    for name in lab.__all__:
        assert getattr(lab, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lab.nonsense  # noqa: B018


def test_its_defaults_import_nothing() -> None:
    program = """
import sys
before = set(sys.modules)
import pyvmm.lab.defaults
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [
        "__future__",
        "pyvmm",
        "pyvmm.lab",
        "pyvmm.lab.defaults",
        "pyvmm.uapi",
        "pyvmm.uapi.lazy",
    ]


@pytest.mark.parametrize(
    ("log", "killed"),
    [
        ("[   14.4] something else\n", ""),
        (
            "[ 1.0] Out of memory: Killed process 5 (sh) total-vm:1kB, anon-rss:1kB\n"
            "[ 2.0] Out of memory: Killed process 186 (a (b) c) total-vm:1kB, oom_score_adj:0\n"
            "Killed\n",
            "Out of memory: Killed process 186 (a (b) c)",
        ),
    ],
)
def test_who_was_killed_for_want_of_memory(
    monkeypatch: pytest.MonkeyPatch, log: str, killed: str
) -> None:
    monkeypatch.setattr(Lab, "log", log)
    assert Lab().killed_for_memory == killed


@pytest.mark.parametrize(
    "use",
    [
        lambda lab: lab.log,
        lambda lab: lab.devices,
        lambda lab: lab.plugged,
        lambda lab: lab.plug("edu"),
        lambda lab: lab.run(["true"]),
    ],
)
def test_one_that_does_not_run_says_how_it_does(use: Callable[[Lab], object]) -> None:
    made = Lab("nvme")
    with pytest.raises(LabError, match=r"the lab doesn't run; use it within `with Lab\(\.\.\.\)"):
        use(made)
    made.close()
