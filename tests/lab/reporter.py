# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A pytest plugin for inside the lab: each report goes to standard output, as a line of JSON.

`python -m pytest -p no:terminal -p tests.lab.reporter TESTS`; relay.py reads it on the host.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

# Before pytest captures it. What tests print must not come in between.
_OUT = os.fdopen(os.dup(1), "w", buffering=1)


class Reporter:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._send("report", report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            _line("broken", f"{report.nodeid}: {report.longreprtext}")

    def _send(self, kind: str, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        _line(kind, data)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "lab-reporter")


def _line(kind: str, data: object) -> None:
    print(json.dumps([kind, data]), file=_OUT)
    sys.stderr.flush()
