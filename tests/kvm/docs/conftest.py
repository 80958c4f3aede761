# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Pages of docs/ as what they hold: Python blocks, each with the output that follows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 100.0  # seconds, for whatever should take a few

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\w+\.py)\n")


class Block(NamedTuple):
    """A block of code; output is the block of text next after it, or empty."""

    line: int
    name: str  # of the file that its first line names, or empty
    code: str
    output: str


def blocks(page: str, language: str) -> list[Block]:
    """The blocks of that language in docs/page."""
    text = (ROOT / "docs" / page).read_text()
    fences = list(_FENCE.finditer(text))
    found = []
    for index, fence in enumerate(fences):
        if fence[1] == language:
            follows = fences[index + 1] if index + 1 < len(fences) else None
            output = follows[2] if follows and follows[1] == "text" else ""
            name = _NAME.match(fence[2])
            line = text.count("\n", 0, fence.start()) + 1
            found.append(Block(line, name[1] if name else "", fence[2], output))
    return found


def run(arguments: Sequence[str | Path]) -> tuple[int, str]:
    """Run Python in the checkout's folder, to its end; returns its status and all its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout


def check_output(shown: str, actual: str) -> None:
    """Fail unless actual is what a page shows, where a line "..." is any lines, and "..." in one
    any text.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in shown.splitlines()
    )
    assert re.fullmatch(pattern, actual), f"the page shows:\n{shown}\nbut it is:\n{actual}"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for setting in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(setting)
