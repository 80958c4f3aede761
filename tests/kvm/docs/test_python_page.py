# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs/python.md: each Python block runs, and says what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kvm.docs.conftest import Block, blocks, check_output, run

pytestmark = [pytest.mark.kvm, pytest.mark.usefixtures("guests")]

BLOCKS = blocks("python.md", "python")
SCRIPTS = [block for block in BLOCKS if not block.name]
CONFTESTS = [block for block in BLOCKS if block.name == "conftest.py"]
TESTS = [block for block in BLOCKS if block.name.startswith("test_")]


def test_every_block_is_run() -> None:
    assert len(CONFTESTS) == 1
    assert len(SCRIPTS) + len(TESTS) + 1 == len(BLOCKS) == 9


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: f"line {block.line}")
def test_scripts(block: Block) -> None:
    status, output = run(["-c", block.code])
    assert status == 0, output
    check_output(block.output, output)


@pytest.mark.parametrize("block", TESTS, ids=lambda block: block.name)
def test_tests(block: Block, tmp_path: Path) -> None:
    for file in (*CONFTESTS, block):
        (tmp_path / file.name).write_text(file.code)
    status, output = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / block.name])
    check_output(block.output, output)
    assert status == (pytest.ExitCode.TESTS_FAILED if "failed" in block.output else 0)
