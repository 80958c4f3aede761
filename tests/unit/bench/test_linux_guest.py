# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Linux guests that read: their command lines, and what is made of what they say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.in_lab import linux_guest, model_drive
from bench.in_lab.linux_guest import Found, Life, Reading
from bench.measure import Row
from bench.settings import Settings
from pyvmm.config import load

READINGS = (Reading(1, 500), Reading(8, 400, 128 << 10))
SAID = "took 2000000000 ns for 400, 8 at a time: 100 interrupts"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vm.yaml"
    path.write_text(
        json.dumps(
            {
                "kernel": str(path),
                "initrd": str(path),
                "cmdline": "console=ttyS0 quiet",
                "memory": "256M",
                "devices": [{"host": "0000:00:00.0"}],
            }
        )
    )
    monkeypatch.setattr(linux_guest, "LINUX", path)


def test_both_vmms_tell_the_guest_what_to_read() -> None:
    cmdline = "console=ttyS0 quiet reads=1:500:4096,8:400:131072"
    command = linux_guest.pyvmm("{model: nvme, process: true}", READINGS)
    assert command[3::2] == ["--set"] * 2
    config = load(command[2], dict(word.split("=", 1) for word in command[4::2]))
    assert config.cmdline == cmdline
    assert [(device.model, device.process) for device in config.devices] == [("nvme", True)]
    command = linux_guest.qemu(("-device", "nvme,drive=disk"), READINGS)
    assert command[command.index("-append") + 1] == cmdline
    assert command[-2:] == ["-device", "nvme,drive=disk"]


def test_what_a_guest_says_becomes_rates() -> None:
    assert linux_guest.found(SAID, READINGS[1], 40) == Found(200, 50, 0.1)


@pytest.mark.parametrize("said", ["end", SAID.replace("400", "4"), SAID.replace("8 at", "1 at")])
def test_what_it_should_not_say_is_an_error(said: str) -> None:
    with pytest.raises(BenchError, match="the guest said"):
        linux_guest.found(said, READINGS[1], 0)


def lines(text: str) -> list[str]:
    return ["sh", "-c", f"printf %s {shlex.quote(text)}"]


def test_a_life_is_told_by_marks_among_other_lines() -> None:
    counted = iter([7, 10, 50])
    said = f"boot\nbench: up\n[1] bench: begin\nbench: end\nbench: {SAID}\n"
    life = linux_guest.live(lines(said), READINGS[1:], lambda: next(counted))
    assert life[1:] == (7, [Found(200, 50, 0.1)])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("bench: up\nbench: end\n", "the guest said 'end', not 'begin'"),
        ("bench: up\n", "ended before its guest was through"),
    ],
)
def test_a_guest_that_is_not_through(said: str, why: str) -> None:
    with pytest.raises(BenchError, match=why):
        linux_guest.live(lines(said), READINGS, lambda: 0)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("has_qemu", [True, False])
def test_rows_of_software_drives(
    has_qemu: bool, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def live(_command: object, readings: Sequence[Reading], _exits: object) -> Life:
        return Life(1.0, 2.0, [Found(8.0, 0, 0.5) for _ in readings])

    monkeypatch.setattr(model_drive, "live", live)
    monkeypatch.setattr(model_drive, "count_exits", lambda: None)
    monkeypatch.setattr("bench.vmms.has_qemu", lambda: has_qemu)
    rows = list(model_drive.rows(Settings(quick), [""]))
    who = ["pyvmm", *[model_drive.IOEVENTFD] * (not quick), *["QEMU q35"] * has_qemu]
    units = [row.unit for row in rows]
    assert units == ["IOPS", "per read", "IOPS", "per read", "MiB/s", "per read"]
    assert all(list(row.samples) == who for row in rows)
    assert values(rows[0]) == {8.0}
    assert values(rows[4]) == {1.0}  # 8 times 128 KiB
    assert values(rows[5]) == {0.5}


def values(row: Row) -> set[float]:
    return {value for samples in row.samples.values() for value in samples}
