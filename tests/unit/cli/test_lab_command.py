# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm lab run``: what it says of its own, and how the lab is to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pyvmm.cli.exit_codes import BAD_IMAGE, LAB, USAGE
from pyvmm.cli.main import main
from pyvmm.config import VmConfig
from pyvmm.lab import LabError

GIB = 1 << 30


class FakeLab:
    """A lab that tells what it makes, runs nothing, and knows how it was to be."""

    steps: tuple[str, ...] = ()
    wanted: tuple[str, dict[str, object]]
    timeout: float | None
    status = 7
    killed_for_memory = ""

    def __init__(
        self,
        devices: str,
        *,
        progress: Callable[[str], None],
        done: Callable[[str], None],
        **wanted: object,
    ) -> None:
        FakeLab.wanted = devices, wanted
        self._progress = progress
        self._done = done

    def __enter__(self) -> FakeLab:
        for step in self.steps:
            self._progress(step)
        self._done("booted")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, argv: Sequence[str], *, timeout: float | None) -> int:
        FakeLab.timeout = timeout
        print(*argv)
        return self.status


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.lab.session.Lab", FakeLab)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """Writes a VM's config, and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "vm.yaml"
        path.write_text(f"kernel: nowhere\n{text}\n")
        return str(path)

    return write


def test_what_takes_its_time_is_told_without_being_asked_for(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each step, on stderr, where nobody takes it for the command's output."""
    monkeypatch.setattr(FakeLab, "steps", ("fetching it: 1 %", "fetching it: 99 %", "making it"))
    assert main(["lab", "run", "--", "uname", "-r"]) == 7
    out, err = capfd.readouterr()
    assert out == "uname -r\n"
    assert err == "pyvmm: fetching it\npyvmm: making it\n"


@pytest.mark.parametrize(
    ("status", "killed", "told"),
    [
        (137, "Killed process 9 (a)", "the lab's kernel: Killed process 9 (a); take more --memory"),
        (137, "", ""),
        (0, "Killed process 9 (a)", ""),
    ],
)
def test_a_command_that_was_killed_for_want_of_memory(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    killed: str,
    told: str,
) -> None:
    """The shells that tell of it are not the lab's."""
    monkeypatch.setattr(FakeLab, "status", status)
    monkeypatch.setattr(FakeLab, "killed_for_memory", killed)
    assert main(["lab", "run", "--", "true"]) == status
    assert capfd.readouterr().err == (f"pyvmm: {told}\n" if told else "")


@pytest.mark.parametrize(
    "line", ["ls -l --tty /dev", "-- ls -l --tty /dev", "--device nvme ls -l --tty /dev"]
)
def test_a_commands_options_are_its_own(capfd: pytest.CaptureFixture[str], line: str) -> None:
    assert main(["lab", "run", *line.split()]) == 7
    assert capfd.readouterr().out == "ls -l --tty /dev\n"


def test_nothing_is_told_of_what_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "--", "true"]) == 7
    assert capfd.readouterr().err == ""


def test_how_long_it_took_is_told_if_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "-v", "--", "true"]) == 7
    booted, ended = capfd.readouterr().err.splitlines()
    assert booted.startswith("pyvmm: lab: booted ")
    assert ended.startswith("pyvmm: lab: command ended ")
    assert booted.endswith(" s")


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("--device=nvme", "add --lab; see"),
        ("--kernel=6.1", "add --lab, or choose the VM's own by --set kernel=...; see"),
        ("--iommu=intel", "add --lab; see"),
        ("--qemu=newest", "add --lab; see"),
        ("--cpus=1", "add --lab, or choose the VM's own by --set cpus=...; see"),
        ("--memory=1G", "add --lab, or choose the VM's own by --set memory=...; see"),
        ("--cold", "add --lab; see"),
    ],
)
def test_what_is_about_the_lab_is_for_the_lab(
    capfd: pytest.CaptureFixture[str], config: Callable[[str], str], option: str, cure: str
) -> None:
    assert main(["run", option, config("")]) == USAGE
    name, _, _ = option.partition("=")
    out, err = capfd.readouterr()
    assert (out, err) == (
        "",
        f"pyvmm: error: {name} is for a VM in the lab; {cure} pyvmm run --help\n",
    )
    assert main(["run", "--lab", option, config("")]) == 7


def test_what_it_is_like_when_nothing_is_said() -> None:
    """As Lab has it by itself."""
    main(["lab", "run", "--", "true"])
    assert FakeLab.wanted == ("", {})


def test_what_it_is_like_when_it_is_said() -> None:
    main(
        [
            "lab",
            "run",
            "-d",
            "nvme",
            "-d",
            "edu",
            "--kernel",
            "6.1",
            "--iommu",
            "none",
            "--cpus",
            "2",
            "--memory",
            "2G",
            "--cold",
            "--",
            "true",
        ]
    )
    devices, wanted = FakeLab.wanted
    assert devices == "nvme,edu"
    assert wanted == {
        "kernel": "6.1",
        "iommu": "none",
        "cpus": 2,
        "memory": 2 * GIB,
        "cold": True,
    }


@pytest.mark.parametrize("command", ["setup", "check"])
def test_what_is_to_be_there_is_for_the_lab_that_is_wanted(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(kernel: str, **wanted: object) -> list[object]:
        asked.append((kernel, *(wanted[name] for name in ("devices", "iommu", "qemu"))))
        raise LabError("that is all")

    monkeypatch.setattr("pyvmm.lab.assets.prepare", ask)
    monkeypatch.setattr("pyvmm.lab.assets.check", ask)
    options = "-d igb -d nvme --iommu amd --qemu newest --kernel 6.1"
    assert main(["lab", command, *options.split()]) == LAB
    assert asked == [("6.1", "igb,nvme", "amd", "newest")]


@pytest.mark.parametrize(
    ("options", "handed_on", "at_least"),
    [
        ([], "", None),
        (["--timeout", "0.5"], " --timeout 0.5", 60),
        (["--set", "timeout=2"], " --set timeout=2", 60),
    ],
)
def test_a_vm_has_its_time_from_when_it_runs(
    capfd: pytest.CaptureFixture[str],
    config: Callable[[str], str],
    options: list[str],
    handed_on: str,
    at_least: float | None,
) -> None:
    """Not from when Python starts in the lab, which takes longer than a VM may."""
    path = config("")
    assert main(["run", "--lab", *options, path]) == 7
    assert capfd.readouterr().out.endswith(f"-m pyvmm run {path}{handed_on}\n")
    if at_least is None:
        assert FakeLab.timeout is None
    else:
        assert FakeLab.timeout is not None
        assert FakeLab.timeout > at_least


def test_sockets_of_the_host_are_out_of_reach(
    capfd: pytest.CaptureFixture[str], config: Callable[[str], str]
) -> None:
    path = config("devices: [{model: edu}, {socket: /run/server.sock}]")
    assert main(["run", "--lab", path]) == LAB
    out, err = capfd.readouterr()
    assert out == ""
    assert "devices[1]: a VM in the lab can't reach this host's sockets" in err
    assert "/run/server.sock; have the model in the config" in err


def test_devices_of_the_labs_host_have_to_be_plugged_in(
    capfd: pytest.CaptureFixture[str], config: Callable[[str], str]
) -> None:
    path = config('devices: [{host: "0000:01:00.0"}]')
    assert main(["run", "--lab", path]) == LAB
    told = "0000:01:00.0: the lab's host has no such device unless one is plugged in"
    assert f"{told}; add what it is to be: --device nvme" in capfd.readouterr().err
    assert main(["run", "--lab", "--device", "nvme", path]) == 7


def test_images_are_fetched_before_the_lab_starts_which_has_no_network(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(config: VmConfig, progress: Callable[[str], None]) -> tuple[str, None]:
        assert not hasattr(FakeLab, "timeout")
        progress(f"fetching {config.kernel}: 20 %")
        return "/cache/vmlinux", None

    monkeypatch.setattr("pyvmm.linux.images.prepare", prepare)
    monkeypatch.delattr(FakeLab, "timeout", raising=False)
    path = tmp_path / "vm.yaml"
    path.write_text("kernel: debian:6.12\n")
    assert main(["run", "--lab", str(path)]) == 7
    out, err = capfd.readouterr()
    assert err == "pyvmm: fetching debian:6.12\n"
    assert out.endswith(f"-m pyvmm run {path}\n")


def test_images_that_cant_be_had_are_told_and_no_lab_starts(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "vm.yaml"
    path.write_text("kernel: a\ninitrd: {script: nowhere.sh}\n")
    assert main(["run", "--lab", str(path)]) == BAD_IMAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading the guest's script" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("key", ["serial: pty", "serial: unix:/tmp/s", "monitor: unix:/tmp/m"])
def test_so_are_lines_into_the_lab(
    capfd: pytest.CaptureFixture[str], config: Callable[[str], str], key: str
) -> None:
    path = config(key)
    assert main(["run", "--lab", path]) == LAB
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{key} of a VM in the lab can't be reached from here; leave" in err


def test_a_size_that_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    main(["lab", "run", "--memory", "lots", "--", "true"])
    assert "'lots' is no size such as 512M or 1G" in capfd.readouterr().err
