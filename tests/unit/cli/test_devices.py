# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm devices, on this host, whatever it has, and on made-up ones."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import pyvmm.doctor
import pyvmm.vfio.host
from pyvmm.cli import exit_codes, table
from pyvmm.cli.main import main
from pyvmm.doctor import Answer, Report, Verdict
from pyvmm.vfio.host import HostFunction, functions
from tests.unit.vfio.host.made_host import MadeHost

Capture = pytest.CaptureFixture[str]


def test_json_of_this_host(capsys: Capture) -> None:
    assert main(["devices", "--json"]) == 0
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [device["address"] for device in shown] == [f.bdf for f in functions()]
    for device in shown:
        assert device["names"]["class"]
        assert device["assignable"]["answer"] in ("now", "later", "no")
        assert device["assignable"]["reason"] or device["assignable"]["answer"] == "now"


def test_table_of_this_host(capsys: Capture) -> None:
    assert main(["devices"]) == 0
    table, _, _ = capsys.readouterr().out.partition("\n\n")
    heading, *rows = table.splitlines()
    assert heading.split() == ["Address", "Device", "Driver", "Group", "Reset", "Assignable"]
    assert [row.split()[0] for row in rows] == [f.bdf for f in functions()]


def test_without_names_it_says_where_they_come_from(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyvmm.vfio.host.pci_ids, "PLACES", ())
    monkeypatch.setattr(pyvmm.vfio.host.pci_ids, "_PACKED", ())
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert functions() == [] or out.endswith("\nFor the devices' names: apt-get install pci.ids\n")


@pytest.mark.parametrize(
    ("address", "what", "status"),
    [
        ("eth0", "'eth0' is no PCI address", exit_codes.USAGE),
        ("ffff:ff:1f.7", "no PCI device ffff:ff:1f.7", exit_codes.HOST_DEVICE),
    ],
)
@pytest.mark.parametrize("command", ["devices", "bind", "unbind"])
def test_a_device_that_is_not_there(
    command: str, address: str, what: str, status: int, capfd: Capture
) -> None:
    """What is no address at all is a mistake like others on the command line."""
    assert main([command, address]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert what in err
    assert "`pyvmm devices` lists" in err
    assert err.count("\n") == 1


ROWS = [("0000:01:00.0", "A name of many words " * 5), ("0000:02:00.0", "[b]no mark-up[/b]")]


def test_a_plain_table(capsys: Capture) -> None:
    table.show(("Address", "Name"), [ROWS[1]])
    assert capsys.readouterr().out == "Address       Name\n0000:02:00.0  [b]no mark-up[/b]\n"


def test_a_table_for_people(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="rich isn't installed: pip install -e '.[dev]'")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    table.show(("Address", "Name"), ROWS)
    shown = capsys.readouterr().out
    assert "0000:01:00.0" in shown
    assert "[b]no mark-up[/b]" in shown
    assert shown.count("\n") > 4  # the long name goes over several lines
    table.show(("Address", "Name"), [])
    assert "Address" in capsys.readouterr().out


def test_a_terminal_without_rich(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "rich":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table.show(("Address", "Name"), [ROWS[1]])
    assert capsys.readouterr().out.startswith("Address       Name\n")


def test_rich_is_loaded_for_terminals_alone(capsys: Capture) -> None:
    import subprocess

    script = """
import sys
from pyvmm.cli.main import main
main(["devices"])
print("rich" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("verdict", "cell"),
    [
        (Verdict(Answer.NOW, notes=("it has no reset",)), "yes; it has no reset"),
        (Verdict(Answer.LATER, "not bound", ("bind it",)), "not yet: not bound; bind it"),
        (Verdict(Answer.NO, "no IOMMU", ("enable it",)), "no: no IOMMU"),
    ],
)
def test_what_the_table_says_of_a_verdict(
    verdict: Verdict, cell: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What can be done about a "no" is below the table, once for all."""
    host = MadeHost(tmp_path)
    host.function("0000:01:00.0", driver="e1000e", group=14)
    function = HostFunction("0000:01:00.0", root=host.root)
    report = Report(function, "A NIC", verdict, {})
    monkeypatch.setattr(pyvmm.doctor, "reports", lambda _: [report])
    monkeypatch.setattr(pyvmm.vfio.host, "functions", lambda: [function])
    assert main(["devices"]) == 0
    table, _, below = capsys.readouterr().out.partition("\n\n")
    row = table.splitlines()[1]
    assert row.startswith("0000:01:00.0  A NIC [8086:10d3]")
    assert row.endswith(f"  {cell}")
    assert ("enable it" in below) == (verdict.answer is Answer.NO)
