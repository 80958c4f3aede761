# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A made-up host for each test, whose kernel answers to what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.vfio.host.made_host import MadeHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeHost:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    made = MadeHost(tmp_path)
    monkeypatch.setattr("pyvmm.vfio.host.sysfs.write", made.write)
    return made
