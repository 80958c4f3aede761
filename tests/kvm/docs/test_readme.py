# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""README.md: the demo says what it shows, its configs are configs, and its script runs."""

from __future__ import annotations

from typing import Any

import pytest

from pyvmm.config import document as yaml_document
from pyvmm.config import parse
from tests.kvm.docs.conftest import ROOT, blocks, check_output, run

pytestmark = [pytest.mark.kvm, pytest.mark.usefixtures("guests")]

README = "../README.md"
DEMO, _, MISTAKE = blocks(README, "text")


def plain(text: str) -> Any:
    return yaml_document.parse(text, "", "").data


def test_the_demo_says_what_is_shown() -> None:
    status, output = run(["-m", "pyvmm", "run", "configs/edu.yaml"])
    assert status == 0
    check_output(DEMO.code, output)


def test_the_mistake_is_told_as_shown() -> None:
    _, output = run(["-m", "pyvmm", "run", "configs/edu.yaml", "-s", "devices[0].model=edo"])
    assert output == MISTAKE.code


def test_the_configs_are_configs() -> None:
    models, sockets, hosts = (
        parse(plain(block.code), base=ROOT / "configs") for block in blocks(README, "yaml")
    )
    assert [device.model for device in models.devices] == ["edu"]
    assert [device.socket for device in sockets.devices] == ["/tmp/edu.sock"]
    assert [device.host for device in hosts.devices] == ["0000:01:00.0"]


def test_the_script_runs() -> None:
    (script,) = blocks(README, "python")
    assert run(["-c", script.code]) == (0, "")
