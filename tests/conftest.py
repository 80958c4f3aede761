# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What all tests share: groups that say what they need, and checks for leaks.

A test that can't run here is skipped with the reason and the cure. In CI (CI=true) a group that
was skipped as a whole, although this machine has what it needs, fails the run.

Of each property a little is tried in every run, and other examples each time;
`pytest --hypothesis-profile=thorough` tries as much as a change of the code under test deserves.
"""

from __future__ import annotations

import gc
import os
import platform
import shlex
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUESTS = ROOT / "guests" / "build"
if "PYVMM_LAB" not in os.environ:  # no properties are tested there, and importing takes seconds
    from hypothesis import settings

    # No limit of time for an example: other processes take theirs.
    settings.register_profile("every run", max_examples=25, stateful_step_count=30, deadline=None)
    settings.register_profile("thorough", max_examples=500, stateful_step_count=50, deadline=None)
    settings.load_profile("every run")

QEMU = shlex.split(os.environ.get("PYVMM_QEMU") or "qemu-system-x86_64")
"""The command of the QEMU to test against"""


def _let_children_have_signals() -> None:
    """Who runs this in the background, or by nohup, has it ignore some, and its children with it.

    A signal that is caught is its default again for a program that is started.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_let_children_have_signals()

# Seconds that a thread which nobody waits for may take to end.
_MOMENT = 5.0


def missing_for_kvm() -> str:
    """Why tests that need KVM can't run here, or ''."""
    if not os.path.exists("/dev/kvm"):
        return "no /dev/kvm: load kvm_intel or kvm_amd, or enable nested virtualisation"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm: `pyvmm run configs/hello.yaml` says what to do"
    return ""


def missing_for_interop() -> str:
    """Why tests against QEMU can't run here, or ''."""
    if shutil.which(QEMU[0]) is None:
        return f"no {QEMU[0]}: apt-get install qemu-system-x86, or have PYVMM_QEMU name one"
    return ""


def missing_for_headers() -> str:
    """Why tests against the kernel's headers can't run here, or ''.

    Headers and a compiler are not asked for: they can be had wherever there is a CI.
    """
    if platform.machine() != "x86_64":
        return "the ABI is x86-64's: run this test there"
    return ""


def missing_for_lab() -> str:
    """Why no lab can be had here, or ''."""
    if "PYVMM_LAB" in os.environ:
        return ""
    from pyvmm.lab.findings import SETUP, check

    missing = [finding for finding in check() if finding.needed and not finding.ok]
    return "; ".join(str(finding) for finding in missing if SETUP not in finding.cure)


GROUPS = {
    "kvm": missing_for_kvm,
    "lab": missing_for_lab,
    "interop": missing_for_interop,
    "headers": missing_for_headers,
}

_ran: Counter[str] = Counter()
_wanted: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for group, missing in GROUPS.items():
        members = [item for item in items if item.get_closest_marker(group) is not None]
        reason = missing() if members else ""
        for item in members if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Have no_leaks look through what tests leave alone, and not all tests each time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for group in GROUPS:
        if group in report.keywords:
            _wanted[group] += report.when == "setup"
            _ran[group] += report.when == "call" and not report.skipped


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") != "true" or session.config.option.collectonly:
        return
    if hasattr(session.config, "workerinput"):  # who gives out the tests has all reports
        return
    for group, missing in GROUPS.items():
        if _wanted[group] and not _ran[group] and not missing():
            print(f"\nall tests of the group '{group}' were skipped, although they can run here")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Where workers share the tests, a file's are one's, and so are all that share a lab."""
    from xdist.scheduler import LoadScopeScheduling

    from tests.lab.profiles import worker_of

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return worker_of(nodeid) or nodeid.partition("::")[0]

    return Scheduling(config, log)


def open_fds() -> dict[str, str]:
    """Every open file descriptor of this process and what it is."""
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the one listdir itself used
    return fds


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a file descriptor, a thread or a child process behind."""
    gc.collect()
    fds, threads = open_fds(), set(threading.enumerate())
    yield
    gc.collect()
    deadline = time.monotonic() + _MOMENT
    while leaked_threads := set(threading.enumerate()) - threads:
        assert time.monotonic() < deadline, f"threads left running: {leaked_threads}"
        time.sleep(0.001)
    # A server of another fixture, in this process, may just be letting its client go.
    while leaked := {fd: what for fd, what in open_fds().items() if fds.get(fd) != what}:
        assert time.monotonic() < deadline, f"file descriptors left open: {leaked}"
        time.sleep(0.001)
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise AssertionError(f"a child process was left behind ({pid or 'still running'})")


@pytest.fixture(scope="session")
def guests() -> Path:
    """The folder of the built test guests. In CI they are there."""
    if not (GUESTS / "hello.elf").exists():
        unbuilt = "the test guests are not built: make guests"
        if os.environ.get("CI") == "true":
            pytest.fail(unbuilt)
        pytest.skip(unbuilt)
    return GUESTS
