# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command line's grammar: commands, their options, and their help."""

from __future__ import annotations

import argparse

from pyvmm import __version__

from .exit_codes import TABLE, USAGE
from .settings import descriptor, pair, path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Commands = argparse._SubParsersAction["_Parser"]

_EPILOG = "exit status:\n" + "\n".join(f"  {code:>4}  {what}" for code, what in TABLE)


def parse(args: list[str]) -> argparse.Namespace:
    """Parse args; the result's ``command`` takes that result and returns the exit status.

    Exits with USAGE on a usage error.
    """
    return _parser().parse_args(args or ["--help"])


class _Parser(argparse.ArgumentParser):
    """argparse's own status for usage errors, 2, is one of the guest's."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"pyvmm: error: {message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="pyvmm",
        description="Boot guests under KVM with PCI devices assigned: models in Python, and\n"
        "devices in other processes (vfio-user).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyvmm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_serve(commands)
    _add_models(commands)
    _add_schema(commands)
    return parser


def _add(commands: Commands, name: str, summary: str, details: str) -> _Parser:
    command = commands.add_parser(
        name,
        help=summary,
        description=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say more: timings, counters; twice: a traceback with an error",
    )
    return command


def _add_run(commands: Commands) -> None:
    from .run import command

    parser = _add(
        commands,
        "run",
        "boot the VM that a YAML file describes",
        "Boot the VM that a YAML file describes. Its serial line is on stdin and stdout; when\n"
        "that is a terminal, Ctrl-A X quits and Ctrl-A H lists the other keys.",
    )
    parser.add_argument(
        "config", metavar="CONFIG", help="the VM's YAML file, such as configs/edu.yaml"
    )
    parser.add_argument(
        "-s",
        "--set",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        default=[],
        help="change a key of the config for this run, such as memory=128M or cmdline='a b'",
    )
    parser.add_argument(
        "-t", "--timeout", metavar="SECONDS", type=float, help="end the VM after so many seconds"
    )
    parser.set_defaults(command=command)


def _add_serve(commands: Commands) -> None:
    from .serve import command

    parser = _add(
        commands,
        "serve",
        "serve a device model over vfio-user",
        "Serve a device model written in Python to any vfio-user client (pyvmm, QEMU's\n"
        "vfio-user-pci, ...), one client at a time, until SIGINT or SIGTERM.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="the model's name; `pyvmm models` lists them"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", metavar="PATH", type=path, help="listen on this UNIX socket")
    where.add_argument(
        "--fd",
        metavar="N",
        type=descriptor,
        help="serve one client on this inherited, connected socket",
    )
    parser.add_argument(
        "-o",
        "--option",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        default=[],
        help="an option of the model, such as dma_mask=0xffffffff",
    )
    parser.set_defaults(command=command)


def _add_models(commands: Commands) -> None:
    from .models import command

    _add(
        commands,
        "models",
        "list the device models",
        "List the device models that `pyvmm serve` and a config's devices can name.",
    ).set_defaults(command=command)


def _add_schema(commands: Commands) -> None:
    from .schema import command

    _add(
        commands,
        "schema",
        "print the JSON Schema of the YAML files",
        "Print the JSON Schema of VM configs, for editors and validators.",
    ).set_defaults(command=command)
