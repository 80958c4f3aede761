# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command line's grammar, and the commands that need no VM."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pyvmm import __version__
from pyvmm.cli import exit_codes
from pyvmm.cli.main import main
from pyvmm.config import json_schema
from pyvmm.models import MODELS

ROOT = Path(__file__).resolve().parents[3]

Capture = pytest.CaptureFixture[str]


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pyvmm {__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__


def test_no_arguments_at_all(capsys: Capture) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: pyvmm ")


@pytest.mark.parametrize(
    "command", ["run", "serve", "models", "schema", "devices", "bind", "unbind"]
)
def test_help(command: str, capsys: Capture) -> None:
    assert main(["--help"]) == 0
    assert f"\n    {command} " in capsys.readouterr().out
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: pyvmm {command} ")


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["run"], "the following arguments are required: CONFIG; see pyvmm run --help"),
        (["run", "a.yaml", "b.yaml"], "unrecognized arguments: b.yaml; see pyvmm run --help"),
        (["lab", "run", "--frob", "--", "a"], "arguments: --frob; see pyvmm lab run --help"),
        (["lab", "run", "--"], "arguments are required: COMMAND; see pyvmm lab run --help"),
        (["lab", "run"], "arguments are required: COMMAND; see pyvmm lab run --help"),
        (["run", "a.yaml", "--set", "cpus"], "'cpus' is not KEY=VALUE"),
        (["run", "a.yaml", "--set", "=1"], "'=1' is not KEY=VALUE"),
        (["run", "a.yaml", "--timeout", "soon"], "invalid float value: 'soon'"),
        (["run", "--frob"], "required: CONFIG"),
        (["serve", "edu"], "one of the arguments --socket --fd is required"),
        (["serve", "edu", "--socket", "a", "--fd", "3"], "1 model and 2 places: give each"),
        (["serve", "edu", "testdev", "--fd", "3"], "2 models and 1 place: give each"),
        (["serve", "edu", "--fd", "3", "edu", "--fd", "3"], "of its own"),
        (["serve", "edu", "--fd", "3", "--frob"], "unrecognized arguments: --frob"),
        (["serve", "edu", "--fd", "3", "-o", "nvme.a=1"], "no 'nvme' among what is served"),
        (
            ["serve", "edu", "--fd", "3", "testdev", "--fd", "4", "-o", "dma_mask=1"],
            "say of which model it is, as in edu.dma_mask",
        ),
        (["serve", "edu", "--socket", ""], "a path can't be empty"),
        (["serve", "edu", "--fd", "-1"], "argument --fd"),
        (["serve", "edu", "--fd", "three"], "'three' is no file descriptor's number"),
        (["serve", "edu", "--fd", "2147483648"], "'2147483648' is no file descriptor's number"),
    ],
)
def test_a_command_line_that_is_wrong(args: list[str], what: str, capsys: Capture) -> None:
    assert main(args) == exit_codes.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pyvmm: error: ")
    assert what in err
    assert err.endswith(" --help\n")
    assert err.count("\n") == 1


def test_nothing_at_all_is_a_question(capsys: Capture) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: pyvmm ")


def test_models(capsys: Capture) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    for name, entry in MODELS.items():
        assert f"{name} " in shown
        assert entry.description in shown
        for option in entry.options:
            assert f"{option.name}: {option.description}" in shown


def test_schema(capsys: Capture) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_a_config_that_is_wrong(tmp_path: Path, capfd: Capture) -> None:
    """On the short way through main(), and on the one through the option parser."""
    path = str(tmp_path / "none.yaml")
    for args in (["run", path], ["run", "-v", path]):
        assert main(args) == exit_codes.CONFIG
        assert capfd.readouterr().err.startswith(f"pyvmm: error: {path}: no such file")


def test_the_everyday_command_parses_nothing(tmp_path: Path) -> None:
    """An option parser takes as long to import as a VM takes to start, and a YAML parser longer."""
    (tmp_path / "vm.yaml").write_text("kernel: none.elf\n")
    script = """
import sys
from pyvmm.cli.main import main
main(["run", "vm.yaml"])
print(*sorted({"argparse", "dataclasses", "msgspec", "re", "typing", "yaml"} & set(sys.modules)))
"""
    for _ in range(2):  # the first time fills the cache of configs
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "pyvmm: error: " in done.stderr
    assert done.stdout == "\n"


def test_python_m_pyvmm() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyvmm", "--version"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout == f"pyvmm {__version__}\n"


def test_how_children_end_is_known_though_whoever_starts_us_ignores_it() -> None:
    """Commands run others, and have to know whether those succeeded."""
    script = """
import signal, subprocess, sys
from pyvmm.cli.main import main
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
sys.argv = ["pyvmm", "--version"]
main()
sys.exit(subprocess.run(["false"]).returncode)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_that_are_closed_are_opened(closed: tuple[int, ...]) -> None:
    """So that no other file gets their numbers, and becomes our stdout."""
    script = f"""
import os
told = os.dup(2)
for fd in {closed}:
    os.close(fd)
from pyvmm.cli.main import main
main(["models"])
for fd in {closed}:
    os.write(told, os.readlink(f"/proc/self/fd/{{fd}}").encode() + b" ")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == ["/dev/null"] * len(closed)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("--help", 0),
        ("--version", 0),
        ("frobnicate", exit_codes.USAGE),
        ("models", 0),
        ("schema", 0),
        ("doctor", None),
        ("doctor --json", None),
        ("devices", 0),
        ("devices --json", 0),
        ("bind ffff:ff:1f.7", exit_codes.HOST_DEVICE),
        ("unbind ffff:ff:1f.7", exit_codes.HOST_DEVICE),
        ("run /no/such.yaml", exit_codes.CONFIG),
        ("run --lab /no/such.yaml", exit_codes.CONFIG),
        ("serve nosuchmodel --fd 0", exit_codes.BAD_MODEL),
        ("lab --help", 0),
        ("lab check", None),
        ("lab run --kernel 1.0 -- true", exit_codes.LAB),
        ("lab setup --kernel 1.0", exit_codes.LAB),
        ("lab shell", exit_codes.LAB),
    ],
)
def test_streams_that_are_not_there_are_no_reason_to_fail(
    command: str, status: int | None, closed: str
) -> None:
    """Of no command; None is a status that depends on the host."""
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "pyvmm", *command.split()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode != exit_codes.INTERNAL
    if status is not None:
        assert done.returncode == status, done.stderr


def test_the_garbage_collector_is_on_again_in_the_end() -> None:
    for args in (["--version"], ["run", "/no/such.yaml"], ["frobnicate"]):
        main(args)
        assert gc.isenabled()
