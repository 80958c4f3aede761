# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/config.md: it is what the schema says, and its examples are configs and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pyvmm.cli.parser import parse as parse_arguments
from pyvmm.config import ConfigInvalid, json_schema, load, parse
from pyvmm.config import document as yaml_document
from tools.config_reference import render

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "config.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def plain(text: str) -> Any:
    return yaml_document.parse(text, "", "").data


COMMANDS = [
    shlex.split(line)[3:]
    for block in blocks("console")
    for line in block.splitlines()
    if line.startswith("$ pyvmm run ")
]


def test_the_page_is_current() -> None:
    assert render() == PAGE, "run: python -m tools.config_reference > docs/config.md"


def test_every_key_has_a_row() -> None:
    for kind in json_schema()["$defs"].values():
        for key in kind["properties"]:
            assert re.search(rf"^\| `{key}` \|", PAGE, re.MULTILINE), key


def test_the_examples_are_configs() -> None:
    first, second, third, linux, ports = (parse(plain(text)) for text in blocks("yaml"))
    assert first.memory.size == 64 << 20
    assert linux.initrd is not None
    assert linux.initrd.modules == ("nvme", "ext4")
    assert [device.slot for device in second.devices] == [None, 0x0A << 3, None, None]
    assert third.cpu.features == {"avx2": False, "rdrand": True}
    assert [device.slot for device in ports.devices] == [0x28, 0x29]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_change_the_config(command: list[str]) -> None:
    options = parse_arguments(["run", *command])
    overrides = dict(options.set)
    if options.timeout is not None:
        overrides["timeout"] = options.timeout
    config = ROOT / options.config
    assert load(config, overrides) != load(config)


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 9


def test_the_mistake_is_told_as_the_page_says() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse({"kernel": "hello.elf", "memroy": "64M"})
    assert f": {caught.value}\n" in PAGE
