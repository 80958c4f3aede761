# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ACPICA's tools: iasl takes tables apart and puts them together, acpiexec runs their AML.

It is the code by which Linux and others interpret tables.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

LIMIT = 60.0  # seconds


def need() -> None:
    """Skip the test if they are not here."""
    if shutil.which("iasl") is None or shutil.which("acpiexec") is None:
        pytest.skip("no iasl or acpiexec: apt-get install acpica-tools")


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def iasl(folder: Path, *arguments: str) -> str:
    """What iasl says; it must have nothing to complain of."""
    output = _run(folder, "iasl", *arguments)
    assert not re.search(r"(?i)invalid|incorrect|warning +\d|error +\d|remark +\d", output), output
    return output


def disassembled(folder: Path, name: str, table: bytes) -> str:
    """The source of a table, in folder/name.dsl too."""
    (folder / f"{name}.aml").write_bytes(table)
    iasl(folder, "-d", f"{name}.aml")
    return (folder / f"{name}.dsl").read_text()


def evaluated(folder: Path, dsdt: bytes, *objects: str) -> Sequence[int | bytes]:
    """The value of each object of a DSDT: a path, and a method's arguments if it has any."""
    (folder / "dsdt.aml").write_bytes(dsdt)
    commands = ";".join(f"evaluate {one}" for one in objects)
    output = _run(folder, "acpiexec", "-b", commands, "dsdt.aml")
    # Versions of 2026 tell of what acpiexec itself has not freed at its end.
    complaints = re.sub(r"ACPI Error: .* Outstanding cache allocations", "", output)
    assert not re.search(r"ACPI (Error|Warning)|AE_[A-Z]|BIOS Error", complaints), output
    values: list[int | bytes] = []
    for answer in output.split("\nEvaluating ")[1:]:
        if number := re.search(r"\[Integer\] = ([0-9A-F]{16})", answer):
            values.append(int(number[1], 16))
            continue
        length = re.search(r"\[Buffer\] Length ([0-9A-F]+) =", answer)
        assert length is not None, answer
        lines = re.findall(
            r"^ *(?:\[Buffer\].*= +)?[0-9A-F]{4,}: ((?:[0-9A-F]{2} )+)", answer, re.M
        )
        data = bytes.fromhex("".join(lines))
        values.append(data)
        assert len(data) == int(length[1], 16)
    assert len(values) == len(objects), output
    return values
