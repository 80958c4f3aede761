# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The benchmarks' part in the lab: what comes back from there, and what happens without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import lab
from bench.errors import BenchError, Skipped
from bench.in_lab import contenders, map_dma, start
from bench.measure import Goal, Row
from bench.settings import Settings
from pyvmm.lab.errors import LabError

ROWS = [
    Row("mapping", "s", {"pyvmm": [2.0], "C ioctl": [1.0]}, (Goal("1", 2, met=False),)),
    Row("reads", "IOPS", {"pyvmm": [10.0], "kernel's driver": [20.0]}),
]


class FakeLab:
    """A lab whose command ends with a status, and has printed rows by then."""

    status = 0

    def __init__(self, devices: str, *, memory: int, progress: Callable[[str], None]) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        LABS.append(self)

    def __enter__(self) -> FakeLab:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, argv: list[str], *, env: dict[str, str], stdout: Any, **_: object) -> int:
        self.commands.append(argv)
        self.environments.append(env)
        stdout.write(json.dumps(ROWS).encode())
        return self.status


LABS: list[FakeLab] = []


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lab, "Lab", FakeLab)
    monkeypatch.setattr("bench.build.program", Path)
    monkeypatch.setattr("bench.build.preload", Path)
    monkeypatch.setattr("bench.build.linux_config", lambda _: None)
    monkeypatch.setattr("bench.vmms.has_qemu", lambda: True)
    yield
    LABS.clear()


def no_lab(*_: object, **__: object) -> FakeLab:
    raise LabError("there is no QEMU", "apt-get install it")


def test_rows_come_back_from_the_lab_as_they_were() -> None:
    assert lab.parse(json.dumps(ROWS).encode()) == ROWS


@pytest.mark.parametrize("has_qemu", [True, False])
def test_two_labs_measure_all_parts(has_qemu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.vmms.has_qemu", lambda: has_qemu)
    parts = ["map_dma", *["linux"] * has_qemu, "drive"]
    assert list(lab.rows(Settings(quick=True))) == ROWS * (len(parts) + 1)
    one, larger = LABS
    assert [command[-2:] for command in one.commands] == [[part, "--quick"] for part in parts]
    assert [command[-2:] for command in larger.commands] == [["start", "--quick"]]


def test_ioctls_are_noted_where_they_count_alone() -> None:
    list(lab.rows(Settings()))
    mapping, _, reading = LABS[0].environments
    assert mapping["LD_PRELOAD"] == "map_times"
    assert mapping["MAP_TIMES"] == str(map_dma.NOTES)
    assert "LD_PRELOAD" not in reading


def test_a_command_that_fails_in_the_lab_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLab, "status", 3)
    with pytest.raises(BenchError, match=r"map_dma: .* status 3") as caught:
        list(lab.rows(Settings()))
    assert not isinstance(caught.value, Skipped)


def test_without_a_lab_the_part_is_skipped_and_the_reason_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "Lab", no_lab)
    assert run(monkeypatch, "--only", "lab") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "skipped: lab: no lab: there is no QEMU; apt-get install it" in said.err


def test_the_lab_alone_needs_no_kvm_and_no_guests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_missing_for_kvm", lambda: "there is no /dev/kvm")
    samples = tmp_path / "samples.json"
    assert run(monkeypatch, "--only", "lab", "--json", str(samples)) == 0
    assert "kernel's driver" in capsys.readouterr().out
    assert [row["title"] for row in json.loads(samples.read_text())] == [
        row.title for row in ROWS * 4
    ]
    assert run(monkeypatch, "--only", "lab", "--only", "exits") == 1
    assert "error: there is no /dev/kvm" in capsys.readouterr().err


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)
    return bench.main()


def test_each_table_has_its_own_contenders() -> None:
    on_kvm, in_lab = bench._tables({"exits": ROWS[:1], "lab": ROWS[1:]})
    assert (list(on_kvm.rows), list(in_lab.rows)) == (ROWS[:1], ROWS[1:])
    assert "QEMU q35" in on_kvm.others
    assert contenders.KERNEL in in_lab.others
    assert bench._tables({"lab": ()}) == []


# -- what runs in the lab --


def test_phases_are_found_in_what_pyvmm_says() -> None:
    said = "pyvmm: start-up:\npyvmm:   all RAM there       12.50 ms\npyvmm:   in all   99.00 ms\n"
    assert start.PHASE.findall(said) == [("all RAM there", "12.50"), ("in all", "99.00")]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(map_dma, "NOTES", tmp_path / "notes")
    return tmp_path / "notes"


def test_a_contender_takes_what_its_ioctls_take(notes: Path) -> None:
    def turn() -> None:
        with notes.open("a") as file:
            file.write("134217728 250000000\n134217728 500000000\n")

    contender = map_dma.Contender(turn)
    assert [contender(), contender()] == [3, 3]  # 256 MiB in 750 ms are 3 s per GiB
    assert contender.ioctls == [2, 2]


def test_a_contender_that_knows_better_takes_longer(notes: Path) -> None:
    def turn() -> float:
        notes.write_text("268435456 500000000\n")
        return 0.625

    contender = map_dma.Contender(turn)
    assert contender() == 2.5
    assert contender.ioctls == [1]


def test_a_turn_that_maps_nothing_is_an_error(notes: Path) -> None:
    notes.write_text("268435456 1\n")  # of the turn before
    with pytest.raises(BenchError, match="nothing was mapped"):
        map_dma.Contender(lambda: None)()


def test_programs_that_fail_tell_why() -> None:
    assert contenders.run(["cat"], "text") == "text"
    with pytest.raises(BenchError, match=r"sh -c .*: why"):
        contenders.run(["sh", "-c", "echo why >&2; exit 1"])
    with pytest.raises(BenchError, match="/nonexistent: No such file"):
        contenders.run(["/nonexistent"])
