# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The commands that the pages show are commands: pyvmm understands them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from pyvmm.cli.parser import parse
from pyvmm.lab.devices import parse as parse_devices
from tests.conftest import ROOT
from tests.kvm.docs.conftest import blocks

PAGES = ["../README.md", *sorted(page.name for page in (ROOT / "docs").glob("*.md"))]


def commands() -> Iterator[str]:
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.code.splitlines():
                if line.startswith("$ .venv/bin/pyvmm "):
                    yield line


@pytest.mark.parametrize("line", dict.fromkeys(commands()))
def test_a_command(line: str) -> None:
    _, _, *words = shlex.split(line, comments=True)
    options = parse([word for word in words if word != "&"])
    for devices in getattr(options, "device", ()):
        assert parse_devices(devices)
