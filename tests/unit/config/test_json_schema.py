# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The JSON Schema: complete, current, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pyvmm.config import ConfigError, json_schema, parse
from pyvmm.config import document as yaml_document

CONFIGS = Path(__file__).parents[3] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def plain(text: str) -> Any:
    return yaml_document.parse(text, "vm.yaml", "/").data


def test_every_key_says_what_it_is_for() -> None:
    kinds = json_schema()["$defs"]
    assert set(kinds) == {"VmConfig", "Cpu", "CpuidMask", "Device", "Initrd", "Memory"}
    for kind in kinds.values():
        assert kind["description"]
        for key, shape in kind["properties"].items():
            assert len(shape["description"]) > 15, key


def test_the_file_beside_the_configs_is_current() -> None:
    written = json.loads((CONFIGS / "vm.schema.json").read_text())
    assert written == json_schema(), "run: pyvmm schema > configs/vm.schema.json"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_config_follows_the_schema(path: Path, validator: Any) -> None:
    validator.validate(plain(path.read_text()))
    assert "# yaml-language-server: $schema=vm.schema.json\n" in path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "kernel: a",
        "firmware: a",
        "kernel: debian:6.12",
        "kernel: debian:newest-cloud/vmlinuz",
        "kernel: ./debian:6.12",
        "{kernel: a, initrd: b}",
        "{kernel: a, initrd: {file: b}}",
        "{kernel: a, initrd: {script: b}}",
        "{kernel: a, initrd: {}}",
        "{kernel: a, initrd: null}",
        "{kernel: debian:6.1, initrd: {modules: [nvme, ext4], script: b}}",
        "{kernel: a, memory: 64M}",
        "{kernel: a, memory: 64 MiB}",
        "{kernel: a, memory: 67108864}",
        "{kernel: a, memory: {size: 1G, backing: thp}}",
        "{kernel: a, cpus: 255, timeout: 0.001, serial: none}",
        "{kernel: a, cmdline: x, cmdline_defaults: false}",
        "{kernel: a, cpu: {}}",
        "{kernel: a, cpu: {features: {avx2: false, ibrs: true}, tsc_khz: 2100000}}",
        "{kernel: a, cpu: {cpuid: [{leaf: 7, subleaf: 0, register: ebx, clear: 0x20, set: 1}]}}",
        "{kernel: a, serial: pty, log: b, monitor: 'unix:m', max_resets: 3, on_panic: continue}",
        "{kernel: a, monitor: null, max_resets: null, on_reset: exit, on_triple_fault: reset}",
        "{kernel: a, devices: [{model: a, slot: 3}, {socket: b, slot: 10.0, timeout: 1}]}",
        "{kernel: a, devices: [{socket: b, posted_writes: true}]}",
        "{kernel: a, devices: [{model: a, slot: '1f.0'}, {model: a, process: true}]}",
        "{kernel: a, devices: [{model: a, options: {x: [1, {y: z}]}, slot: null}]}",
    ],
)
def test_good_for_the_loader_and_good_for_the_schema(text: str, validator: Any) -> None:
    parse(plain(text))
    validator.validate(plain(text))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{kernel: a, firmware: b}",
        "{kernel: ''}",
        "{kernel: 3}",
        "kernel: debian:6.13",
        "kernel: debian:6.12/vmlinux",
        "{kernel: a, initrd: ''}",
        "{kernel: a, initrd: []}",
        "{kernel: a, initrd: {scirpt: b}}",
        "{kernel: a, initrd: {script: 3}}",
        "{kernel: a, initrd: {file: b, script: c}}",
        "{kernel: debian:6.12, initrd: {file: b, modules: [nvme]}}",
        "{kernel: debian:6.12, initrd: {modules: nvme}}",
        "{kernel: debian:6.12, initrd: {modules: [3]}}",
        "{kernel: a, memroy: 1G}",
        "{kernel: a, memory: 64MB}",
        "{kernel: a, memory: 12}",
        "{kernel: a, memory: 70368744181760}",
        "{kernel: a, memory: {backing: x}}",
        "{kernel: a, memory: []}",
        "{kernel: a, cpus: 0}",
        "{kernel: a, cpus: '2'}",
        "{kernel: a, cpu: 2}",
        "{kernel: a, cpu: {model: qemu64}}",
        "{kernel: a, cpu: {features: [avx2]}}",
        "{kernel: a, cpu: {features: {avx2: off}}}",
        "{kernel: a, cpu: {features: {avx3: false}}}",
        "{kernel: a, cpu: {cpuid: [{leaf: 7, register: ebx}]}}",
        "{kernel: a, cpu: {cpuid: [{leaf: 7, register: ebx, clear: 0}]}}",
        "{kernel: a, cpu: {cpuid: [{leaf: 7, register: rbx, set: 1}]}}",
        "{kernel: a, cpu: {cpuid: [{register: ebx, set: 1}]}}",
        "{kernel: a, cpu: {cpuid: [{leaf: 0x100000000, register: ebx, set: 1}]}}",
        "{kernel: a, cpu: {tsc_khz: 2.1}}",
        "{kernel: a, timeout: 0}",
        "{kernel: a, timeout: 0.0009}",
        "{kernel: a, serial: null}",
        "{kernel: a, monitor: /a}",
        "{kernel: a, monitor: 'unix:'}",
        "{kernel: a, log: ''}",
        "{kernel: a, on_reset: reboot}",
        "{kernel: a, max_resets: 0}",
        "{kernel: a, devices: {}}",
        "{kernel: a, devices: [edu]}",
        "{kernel: a, devices: [{}]}",
        "{kernel: a, devices: [{model: a, socket: b}]}",
        "{kernel: a, devices: [{model: a, slot: 32}]}",
        "{kernel: a, devices: [{model: a, slot: '03'}]}",
        "{kernel: a, devices: [{model: a, process: yes}]}",
        "{kernel: a, devices: [{model: a, options: []}]}",
    ],
)
def test_bad_for_the_loader_and_bad_for_the_schema(text: str, validator: Any) -> None:
    with pytest.raises(ConfigError):
        parse(plain(text))
    assert not validator.is_valid(plain(text))
