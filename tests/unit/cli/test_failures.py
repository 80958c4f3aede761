# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What goes wrong becomes one line and a status; the table of statuses matches the packages."""

from __future__ import annotations

import errno
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyvmm.cli import exit_codes, failures
from pyvmm.cli.signals import Interrupted
from pyvmm.config import SlotTaken
from pyvmm.kvm import KvmCallFailed, KvmCapabilityMissing, KvmMissing, KvmPermission, KvmUnavailable
from pyvmm.pci.errors import BadDevice
from pyvmm.vfio import DeviceSilent, DmaFault

ROOMS = (
    *("boot", "config", "debian", "doctor", "kvm", "lab", "linux"),
    *("machine", "memory", "models", "pci", "vfio"),
)


def errors() -> Iterator[type[Exception]]:
    """Every exception of every room."""
    for room in ROOMS:
        module = importlib.import_module(f"pyvmm.{room}.errors")
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                assert issubclass(value, Exception)
                yield value


def test_the_table_names_classes_that_exist() -> None:
    there_are = {f"{kind.__module__}.{kind.__qualname__}" for kind in errors()}
    assert set(failures._STATUS_BY_CLASS) <= {*there_are, "builtins.MemoryError"}


@pytest.mark.parametrize("kind", list(errors()), ids=lambda kind: kind.__qualname__)
def test_no_error_of_ours_counts_as_a_bug(kind: type[Exception]) -> None:
    assert failures.status_of(kind.__new__(kind)) not in (exit_codes.INTERNAL, exit_codes.OK)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SlotTaken("taken"), exit_codes.PCI_CONFLICT),
        (KvmMissing(), exit_codes.KVM_MISSING),
        (KvmPermission(), exit_codes.KVM_PERMISSION),
        (KvmCapabilityMissing("KVM_CAP_IRQFD"), exit_codes.KVM_CAPABILITY),
        (KvmUnavailable(), exit_codes.HOST_CALL),
        (DeviceSilent(), exit_codes.DEVICE_SILENT),
        (DmaFault(0, 1), exit_codes.DEVICE_FAILED),
        (BadDevice(), exit_codes.DEVICE_FAILED),
        (ZeroDivisionError(), exit_codes.INTERNAL),
        (OSError(), exit_codes.INTERNAL),
        (RuntimeError(), exit_codes.INTERNAL),
    ],
)
def test_the_most_particular_class_counts(error: Exception, status: int) -> None:
    assert failures.status_of(error) == status


def raises(error: BaseException) -> int:
    raise error


def test_an_error_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    status = failures.guarded(lambda: raises(BadDevice("no such BAR; look again")))
    assert capfd.readouterr().err == "pyvmm: error: no such BAR; look again\n"
    assert status == exit_codes.DEVICE_FAILED


@pytest.mark.parametrize(
    "error", [KvmMissing("none"), KvmPermission("none"), KvmCapabilityMissing("KVM_CAP_IRQFD")]
)
def test_without_kvm_there_is_the_lab(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    failures.guarded(lambda: raises(error))
    cure = "; `pyvmm run --lab ...` runs it in software"
    assert capfd.readouterr().err == f"pyvmm: error: {error}{cure}\n"


def test_an_error_with_a_newline_is_one_line_too(capfd: pytest.CaptureFixture[str]) -> None:
    failures.guarded(lambda: raises(BadDevice("opening a\nb")))
    assert capfd.readouterr().err == "pyvmm: error: opening a\\nb\n"


@pytest.mark.parametrize(
    ("error", "status", "cure"),
    [
        (MemoryError(), exit_codes.HOST_MEMORY, "ulimit -v"),
        (RuntimeError("can't start new thread"), exit_codes.HOST_CALL, "ulimit -u"),
    ],
)
def test_limits_of_the_host_are_no_bugs(
    error: Exception, status: int, cure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert failures.guarded(lambda: raises(error)) == status
    told = capfd.readouterr().err
    assert told.startswith("pyvmm: error: ")
    assert cure in told
    assert told.count("\n") == 1


def test_a_bug_is_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    status = failures.guarded(lambda: raises(ZeroDivisionError("a bug")))
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-2:] == [
        "ZeroDivisionError: a bug",
        "pyvmm: this is a bug of pyvmm; please report it with the lines above",
    ]
    assert status == exit_codes.INTERNAL


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (Interrupted(15), 143), (Interrupted(1), 129)]
)
def test_signals_need_no_words(
    error: BaseException, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert failures.guarded(lambda: raises(error)) == status
    assert capfd.readouterr().err == ""


def test_what_is_said_can_be_any_text(capfd: pytest.CaptureFixture[str]) -> None:
    failures.say("a path that is no text: \udcff")
    assert capfd.readouterr().err == "pyvmm: a path that is no text: \\udcff\n"


def test_saying_never_fails() -> None:
    """Somebody may have closed stderr, even all of it."""
    script = """
import os
from pyvmm.cli.failures import say
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 2)
say("into a broken pipe")
os.close(2)
say("into nothing")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b""


def test_output_that_nobody_reads() -> None:
    """Neither of the two ways, at the write or at the flush, ends in a traceback."""
    script = """
import sys
from pyvmm.cli.failures import guarded
sys.exit(guarded(lambda: print("x" * int(sys.argv[1])) or 0))
"""
    for size in ("10", "1000000"):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", script, size], stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("size", ["10", "1000000"])
def test_a_disk_that_is_full_is_no_bug_of_ours(size: str, unbuffered: str) -> None:
    script = """
import sys
from pyvmm.cli.failures import guarded
sys.exit(guarded(lambda: print("x" * int(sys.argv[1])) or 0))
"""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, size],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    line = "pyvmm: error: writing to stdout: write: ENOSPC (No space left on device)\n"
    assert (done.returncode, done.stderr) == (exit_codes.HOST_CALL, line)


def test_a_stderr_that_nobody_reads_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyvmm.cli.failures._PATIENCE_MS", 1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.set_blocking(writer, True)
    monkeypatch.setattr("pyvmm.cli.failures._STDERR", writer)
    failures.say("nobody hears this")
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EMFILE, "Too many open files", "/usr/lib/python3/logging.py"),
        KvmCallFailed("creating vCPU 0", "KVM_CREATE_VCPU", errno.EMFILE),
    ],
)
def test_too_few_files_are_no_bug(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    assert failures.report(error) == exit_codes.HOST_CALL
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("pyvmm: error: ")
    assert line.endswith("; raise the limit of open files (ulimit -n)")
