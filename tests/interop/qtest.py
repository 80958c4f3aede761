# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Qtest: QEMU without a guest; its buses and RAM are used by commands (QEMU's docs/devel/qtest)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Self

from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_CAPABILITY_LIST,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
)
from tests.interop.conftest import LIMIT, Qemu

BAR = 0xE0000000
"""Where enable() puts BAR 0."""
_FUNCTION = 1 << 11 | 1 << 31  # 00:01.0, enabled
_ADDRESS, _DATA, _RESET = 0xCF8, 0xCFC, 0xCF9


class Qtest:
    """A machine with one function, at 00:01.0; a context manager."""

    def __init__(self, qemu: Qemu, *options: str) -> None:
        self._process = subprocess.Popen(
            [
                *qemu.command,
                *("-machine", "q35,accel=qtest", "-nodefaults", "-no-user-config", "-m", "128"),
                *("-display", "none", "-qtest", "stdio", "-qtest-log", "none", *options),
            ],
            env={**os.environ, **qemu.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str) -> str:
        """One command; what QEMU answers after its OK."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        word, _, rest = answer.strip().partition(" ")
        assert word == "OK", f"{command}: {answer!r}"
        return rest

    def config(self, offset: int) -> int:
        """32 bits of configuration space."""
        self.ask(f"outl {_ADDRESS:#x} {_FUNCTION | offset:#x}")
        return int(self.ask(f"inl {_DATA:#x}"), 16)

    def set_config(self, offset: int, value: int, size: str = "l") -> None:
        """Write "b", "w" or "l"."""
        self.ask(f"outl {_ADDRESS:#x} {_FUNCTION | offset & ~3:#x}")
        self.ask(f"out{size} {_DATA + offset % 4:#x} {value:#x}")

    def read(self, address: int, size: str = "l") -> int:
        return int(self.ask(f"read{size} {address:#x}"), 16)

    def write(self, address: int, value: int, size: str = "l") -> None:
        self.ask(f"write{size} {address:#x} {value:#x}")

    def memory(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"read {address:#x} {size:#x}").removeprefix("0x"))

    def set_memory(self, address: int, data: bytes) -> None:
        self.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def enable(self) -> None:
        """Place BAR 0, and let the function decode and master the bus."""
        self.set_config(PCI_BASE_ADDRESS_0, BAR)
        self.set_config(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, "w")

    def capability(self, wanted: int) -> int:
        """The offset of the capability with this id."""
        offset = self.config(PCI_CAPABILITY_LIST) & 0xFC
        while offset:
            header = self.config(offset)
            if header & 0xFF == wanted:
                return offset
            offset = header >> 8 & 0xFC
        raise AssertionError(f"there is no capability {wanted:#x}")

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def reset(self) -> None:
        """Of the whole machine, by the chipset's register."""
        self.ask(f"outb {_RESET:#x} 0x6")
        self.until(lambda: not self.config(PCI_COMMAND) & PCI_COMMAND_MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def words(data: bytes) -> Sequence[int]:
    """Little-endian, of 32 bits."""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
