# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What each command imports: the rooms that it uses, and none of the others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyvmm import machine

_SCRIPT = """
import sys
from pyvmm.cli.main import main
main(sys.argv[1:])
names = [name for name in sys.modules if name.startswith("pyvmm.")]
print("\\n", *names)
"""

# The grammar needs to know a lab's defaults, and exit statuses how a run can end.
_ALWAYS = {"cli", "lab", "machine", "uapi"}


def modules_of(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments], check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "rooms"),
    [
        (["--version"], set()),
        (["models"], {"models"}),
        (["schema"], {"config", "debian", "kvm", "uapi"}),
        (["devices", "ffff:ff:1f.7"], {"doctor", "uapi", "vfio"}),
        (["doctor"], {"_counted", "_finding", "doctor", "kvm", "uapi", "vfio"}),
        (["bind", "ffff:ff:1f.7"], {"uapi", "vfio"}),
        (["lab", "check"], {"_finding", "debian"}),
        # What a VM waits for whose devices are in processes.
        (["serve", "edu", "--fd", "0"], {"models", "pci", "uapi", "vfio"}),
    ],
)
def test_the_rooms_of_a_command(arguments: list[str], rooms: set[str]) -> None:
    assert {name.split(".")[1] for name in modules_of(*arguments)} == _ALWAYS | rooms


def test_no_lab_is_no_more_than_its_defaults() -> None:
    """Whatever options there are: a default is not to be parsed."""
    modules = modules_of("run", "-v", "--set", "cpus=2", "/nowhere.yaml")
    assert {name for name in modules if name.startswith("pyvmm.lab")} == {
        "pyvmm.lab",
        "pyvmm.lab.defaults",
    }


def test_the_machine_room_has_what_it_says() -> None:
    for name in machine.__all__:
        assert getattr(machine, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        machine.nonsense  # noqa: B018
