# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Building what the benchmarks run: small guests in assembly, and the loop in C."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from .errors import BenchError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
FIRST_BYTE = ROOT / "guests" / "build" / "firstbyte.bin"
LINUX = BUILD / "linux-nvme.yaml"
"""What linux_config() writes."""
STORM = ROOT / "guests" / "build" / "storm.elf"

_BENCH = ROOT / "bench"
_CFLAGS = ("-O2", "-Wall", "-Wextra", "-pthread")


def guest(name: str, **symbols: int) -> Path:
    """The firmware image out of guests/NAME.S, with these symbols defined."""
    variant = "-".join([name, *(f"{symbol.lower()}-{symbols[symbol]:x}" for symbol in symbols)])
    image = BUILD / f"{variant}.bin"
    sources = [_BENCH / "guests" / f"{name}.S", _BENCH / "guests" / "firmware.h"]
    if _is_older(image, sources):
        defines = [f"-D{symbol}={value:#x}" for symbol, value in symbols.items()]
        compiled = image.with_suffix(".o")
        _run("gcc", "-c", *defines, "-o", compiled, sources[0])
        _run("objcopy", "-O", "binary", "-j", ".text", compiled, image)
    return image


def program(name: str, *parts: str, static: bool = False) -> Path:
    """The program out of c/NAME.c and, besides, c/PART.c; a static one can go into a guest."""
    result = BUILD / (f"{name}-static" if static else name)
    sources = [_BENCH / "c" / f"{part}.c" for part in (name, *parts)]
    if _is_older(result, [*sources, _BENCH / "c" / "vmm.h"]):
        _run("gcc", *_CFLAGS, *["-static"] * static, "-o", result, *sources)
    return result


def preload(name: str) -> Path:
    """The library out of c/NAME.c, for LD_PRELOAD."""
    result = BUILD / f"{name}.so"
    source = _BENCH / "c" / f"{name}.c"
    if _is_older(result, [source]):
        _run("gcc", *_CFLAGS, "-shared", "-fPIC", "-o", result, source)
    return result


def linux_config(progress: Callable[[str], None]) -> None:
    """Have LINUX be a config, for pyvmm and its peers, of files that are there.

    Raises BenchError.
    """
    from pyvmm.config import parse
    from pyvmm.debian import cpio
    from pyvmm.debian.errors import DebianError
    from pyvmm.linux.errors import LinuxError
    from pyvmm.linux.images import prepare

    initrd = {"modules": ["nvme"], "script": str(_BENCH / "guests" / "nvme.sh")}
    try:
        kernel, made = prepare(parse({"kernel": "debian:6.12-cloud", "initrd": initrd}), progress)
    except (DebianError, LinuxError) as error:
        raise BenchError(str(error)) from None
    assert made is not None
    reader = program("read_disk", static=True).read_bytes()
    # Archives that follow each other are one to the kernel.
    initrd_file = BUILD / "linux-nvme.initramfs"
    more = cpio.archive([cpio.file("bin/read_disk", reader, 0o755)])
    initrd_file.write_bytes(Path(made).read_bytes() + more)
    config = {
        "kernel": kernel,
        "initrd": str(initrd_file),
        "cmdline": "console=ttyS0 quiet panic=-1",
        "memory": "256M",
        "devices": [{"host": "0000:00:00.0"}],  # the command line says which
    }
    LINUX.write_text(json.dumps(config))


def _is_older(result: Path, sources: list[Path]) -> bool:
    if not result.exists():
        return True
    built = result.stat().st_mtime
    return any(source.stat().st_mtime > built for source in sources)


def _run(*command: str | Path) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
