# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Relay: runs lab tests in a lab, all of a profile in one boot, and hands their reports on."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.lab.profiles import Profile

ROOT = Path(__file__).resolve().parents[2]
# What starts slowly in there: plugins that are found by looking through all packages, and files.
_PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_timeout", "-m", "")
# No terminal, so none of its options either.
_REPORTER = (
    "-o",
    "addopts=--import-mode=importlib",
    "-p",
    "no:terminal",
    "-p",
    "tests.lab.reporter",
)
_ENVIRONMENT = ("PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", "PYTHONDONTWRITEBYTECODE=1")


class LabFailed(Exception):
    """The lab ended before the test did; the message is what it had said."""


class Relay:
    """One lab at work on some tests; its process is ended by close()."""

    def __init__(self, profile: Profile, tests: Sequence[str]) -> None:
        self._reports: defaultdict[str, list[Any]] = defaultdict(list)
        self._tests = set(tests)
        self.finished: set[str] = set()
        """Tests that are over"""
        self._broken: list[str] = []
        command = lab_command(profile, tests, reporter=True)
        self._errors = open_errors()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None
        self._lines: Iterator[bytes] = iter(self._process.stdout)

    def reports(self, test: str) -> list[Any]:
        """The serialised reports of one test, waited for. Raises LabFailed."""
        while test not in self.finished:
            line = next(self._lines, None)
            if line is None:
                raise LabFailed(self._said())
            kind, data = json.loads(line)
            if kind == "broken":
                self._broken.append(data)
                continue
            self._reports[data["nodeid"]].append(data)
            if data["when"] == "teardown":
                self.finished.add(data["nodeid"])
        if self.finished >= self._tests:
            self.close()  # whatever else this process has to do, it does without a child of ours
        return self._reports.pop(test, [])

    def _said(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")[-6000:]
        return "\n".join([*self._broken, f"the lab ended with status {status}:", said])

    def close(self) -> None:
        """End the lab, if it hasn't ended. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()


def open_errors() -> Any:
    """A file without a name for what a lab says on standard error."""
    return os.fdopen(os.memfd_create("lab-stderr"), "w+b")


def lab_command(profile: Profile, tests: Sequence[str], *, reporter: bool = False) -> list[str]:
    """The command that runs the tests in a lab of this profile, from the checkout."""
    plugins = _REPORTER if reporter else ()
    return [
        *(sys.executable, "-m", "pyvmm", "lab", "run"),
        *(*profile.options, f"--timeout={profile.time_limit}", "--"),
        *("env", *_ENVIRONMENT, sys.executable, *_PYTEST, *plugins, *tests),
    ]


def shown(profile: Profile, test: str) -> str:
    """The same for one test and for people: what to type in the checkout."""
    python = Path(sys.executable)
    if python.is_relative_to(ROOT):
        python = python.relative_to(ROOT)
    lab = ["lab", "run", *profile.options, f"--timeout={profile.time_limit}"]
    run = ["env", *_ENVIRONMENT, str(python), *_PYTEST, test]
    return shlex.join([str(python), "-m", "pyvmm", *lab, "--", *run])
