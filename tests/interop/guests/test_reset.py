# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""reset under QEMU: what it expects of a machine is true of another one too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Run

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("way", ["i8042", "cf9", "acpi", "triple"])
@pytest.mark.parametrize("who", ["first", "last"])
def test_the_machine_is_as_it_was(run: Callable[..., Run], way: str, who: str) -> None:
    result = run("reset", f"reset={way} from={who} times=2", "-smp", "2", "-device", "edu")
    assert result.failed == []
    assert [line for line in result.lines if line.startswith("boot ")] == [
        "boot 1:",
        "boot 2:",
        "boot 3:",
    ]
    assert result.lines[-1] == "PASS"
    assert result.code == 0
