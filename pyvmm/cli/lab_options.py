# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The grammar of ``pyvmm lab`` and of the options that choose a lab."""

from __future__ import annotations

import argparse
import math
import textwrap

from pyvmm.lab.defaults import (
    DEFAULT_CPUS,
    DEFAULT_IOMMU,
    DEFAULT_KERNEL,
    DEFAULT_MEMORY,
    DEVICE_KINDS,
    IOMMUS,
)

from .late import late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # name, summary, details: as parser.py makes each command.
    Add = Callable[[Any, str, str, str], argparse.ArgumentParser]

PARTS = ("kernel", "iommu", "qemu")
"""Options about what there has to be for a lab, besides its devices."""
MACHINE = (*PARTS, "cpus", "memory", "cold")
"""Options about the whole lab, besides its devices. None is what nobody has said."""

_DEFAULT_TIMEOUT = 600.0

_KINDS = textwrap.fill(
    f"{', '.join(DEVICE_KINDS)}, or any of QEMU's",
    width=90,
    initial_indent="  ",
    subsequent_indent="  ",
    break_on_hyphens=False,
)
_DEVICES = f"""devices are separated by commas; each has a root port and an IOMMU group of its own:
{_KINDS}
  nvme,nvme                          two of a kind
  nvme:msix-exclusive-bar=on         with properties of QEMU's device
  nvme:size=1G                       with a disk so large (16M; block N begins with its number)
  'bridge(nvme+edu),e1000e'          the first two behind one bridge, in one IOMMU group
"""

_RUN = f"""Run a command in the lab: a PC in software (QEMU), in seconds and on any host, with an
IOMMU, /dev/vfio, /dev/kvm, and devices of your choice given to vfio-pci. The command is root there
and sees this host's files, in this folder and with this environment; what it writes to them is
gone with the lab. Its streams are yours, and so are the signals that come.

  pyvmm lab run -- cat /proc/cpuinfo
  pyvmm lab run --device nvme,e1000e,edu -- .venv/bin/python examples/lspci.py
  pyvmm lab run --device 'bridge(nvme+edu)' -- sh -c 'ls /sys/kernel/iommu_groups/*/devices'
  pyvmm lab run --kernel 6.1 --iommu none -- uname -r

In it, PYVMM_LAB_DEVICES has the devices' addresses; with --device nvme,e1000e,edu that is
nvme=0000:01:00.0,e1000e=0000:04:00.0,edu=0000:07:00.0.
The exit status is the command's own, 128 + N if signal N ended it there; 120 if there is no lab
to be had, and 124 if it took longer than the time limit.

{_DEVICES}"""


def add_lab(commands: Any, add: Add) -> None:
    """Add ``pyvmm lab`` and its commands."""
    summary = "a machine with IOMMU, VFIO and KVM on any host, in software"
    parser = commands.add_parser(
        "lab",
        help=summary,
        description="The lab is a PC in software (QEMU) around this host's files, with an IOMMU,\n"
        "devices for VFIO, and KVM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = add(inner, "run", "run a command in the lab", _RUN)
    add_machine_options(run)
    run.add_argument("--tty", action="store_true", help="give it a terminal of its own")
    _add_timeout(run, _DEFAULT_TIMEOUT)
    run.add_argument(
        "argv",
        metavar="COMMAND",
        nargs=argparse.PARSER,
        help="with its arguments; -- before it tells it from options",
    )
    run.set_defaults(command=late("lab", "run_command"))

    shell = add(
        inner,
        "shell",
        "a shell in the lab",
        "Run $SHELL in the lab, on a terminal. Options as for `pyvmm lab run`.\n\n"
        "  pyvmm lab shell --device nvme,igb",
    )
    add_machine_options(shell)
    _add_timeout(shell, 0.0)
    shell.set_defaults(command=late("lab", "shell_command"))

    setup = add(
        inner,
        "setup",
        "fetch what the lab needs",
        "Fetch what the lab needs and this host hasn't, from Debian: kernel, QEMU, busybox. No\n"
        "root needed, nothing is installed: it is unpacked in the user's cache folder. `lab run`\n"
        "does it by itself at first, for the options that it is given.\n\n"
        "  pyvmm lab setup\n"
        "  pyvmm lab setup --kernel 6.1 --device igb",
    )
    _add_parts(setup)
    setup.add_argument("--refresh", action="store_true", help="also what Debian has newer now")
    setup.set_defaults(command=late("lab", "setup_command"))

    check = add(
        inner,
        "check",
        "tell what the lab lacks",
        "Tell what of the lab's needs is there, what is missing, and how to get it. Options as\n"
        "for `pyvmm lab setup`.",
    )
    _add_parts(check)
    check.set_defaults(command=late("lab", "check_command"))


def add_machine_options(parser: Any) -> None:
    """What a lab can be like."""
    _add_parts(parser)
    parser.add_argument(
        "--cpus",
        metavar="N",
        type=_count,
        help=f"default: {DEFAULT_CPUS}",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=_size,
        help=f"such as 2G; default: {DEFAULT_MEMORY >> 30}G",
    )
    parser.add_argument(
        "--cold",
        action="store_true",
        default=None,
        help="boot, and use no snapshot of a lab that has booted",
    )


def _add_parts(parser: Any) -> None:
    """What decides on what has to be there for a lab."""
    parser.add_argument(
        "-d",
        "--device",
        metavar="DEVICES",
        action="append",
        default=[],
        help="devices for vfio-pci, such as nvme,e1000e,edu; `pyvmm lab run --help` has more",
    )
    parser.add_argument(
        "--kernel",
        metavar="VERSION",
        help=f"6.1, 6.12 or newest; default: {DEFAULT_KERNEL}",
    )
    parser.add_argument(
        "--iommu",
        metavar="WHICH",
        type=_iommu,
        help="intel, amd or none, with properties of QEMU's as devices have them, such as "
        f"intel:intremap=off; default: {DEFAULT_IOMMU}",
    )
    parser.add_argument("--qemu", metavar="WHICH", help="7.2, 10.0, newest, host, or a path")


def _add_timeout(parser: Any, default: float) -> None:
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=default,
        help=f"end the command after so many seconds; 0: never; default: {default:g}",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _iommu(text: str) -> str:
    if text in IOMMUS:
        return text
    from pyvmm.lab.errors import LabError
    from pyvmm.lab.iommu import parse_iommu

    try:
        parse_iommu(text)
    except LabError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _size(text: str) -> int:
    from pyvmm.lab.devices import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
