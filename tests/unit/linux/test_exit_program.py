# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The program that ends a guest: an ELF file that runs, of the instructions that it says."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvmm.linux import exit_program as module
from pyvmm.linux.exit_program import exit_program

PORT = 0xF4
NOBODY = 65534


def source() -> Iterator[str]:
    """The program in assembly language, as the comments beside its bytes have it."""
    yield ".intel_syntax noprefix"
    for line in Path(module.__file__).read_text().splitlines():
        label = re.fullmatch(r" +# (\w+:)", line)
        instruction = re.search(r'[",t],  # ([^:]+)(?:: .*)?$', line)
        if label:
            yield label[1]
        elif instruction:
            yield re.sub(r"\bport\b", str(PORT), instruction[1])


def test_the_bytes_are_the_instructions_beside_them(tmp_path: Path) -> None:
    text = "\n".join(source())
    assert text.count("syscall") == 2
    (tmp_path / "program.s").write_text(f"{text}\n")
    subprocess.run(["as", "program.s", "-o", "program.o"], cwd=tmp_path, check=True)
    command = ["objcopy", "-O", "binary", "-j", ".text", "program.o", "code"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert exit_program(PORT).endswith((tmp_path / "code").read_bytes())


@pytest.fixture
def program() -> Iterator[str]:
    """A path to the program, whoever runs it."""
    fd = os.memfd_create("exit-guest", 0)
    try:
        os.write(fd, exit_program(PORT))
        os.fchmod(fd, 0o755)
        # Reopened: no kernel runs a file that is open for writing.
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    finally:
        os.close(fd)
    yield f"/proc/self/fd/{reader}"
    os.close(reader)


def test_it_runs_and_comes_back_where_the_port_is_refused(program: str) -> None:
    """Never as root, who has this machine's port."""
    fd = int(program.rpartition("/")[2])
    nobody = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
    done = subprocess.run([program, "42"], pass_fds=[fd], check=False, **nobody)  # type: ignore[call-overload]
    assert done.returncode == 1
