# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The command line's grammar: commands, their options, and their help."""

from __future__ import annotations

import argparse

from pyvmm import __version__

from .exit_codes import HOST_DEVICE, TABLE, USAGE
from .lab_options import add_lab, add_machine_options
from .late import late
from .settings import address, descriptor, pair, path, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Commands = argparse._SubParsersAction["_Parser"]

_EPILOG = "exit status:\n" + "\n".join(f"  {code:>4}  {what}" for code, what in TABLE)


def parse(args: list[str]) -> argparse.Namespace:
    """Parse args; the result's ``command`` takes that result and returns the exit status.

    Exits with USAGE on a usage error.
    """
    options, unknown = _parser().parse_known_args(args or ["--help"])
    # argparse takes words for one argument only as long as no option comes between them.
    words = getattr(options, "words", None)
    if words and not any(word.startswith("-") for word in unknown):
        getattr(options, words).extend(unknown)
        unknown = []
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    check = getattr(options, "check", None)
    wrong = check(options) if check else ""
    if wrong:
        options.parser.error(wrong)
    return options


class _Parser(argparse.ArgumentParser):
    """argparse's own status for usage errors, 2, is one of the guest's."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"pyvmm: error: {message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="pyvmm",
        description="Boot guests under KVM with PCI devices assigned: devices of the host, models\n"
        "in Python, devices in other processes (vfio-user). Give devices of this host to VFIO,\n"
        "for guests and for drivers in Python. A lab in software has all that on any host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyvmm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_serve(commands)
    _add_models(commands)
    _add_schema(commands)
    add_lab(commands, _add)
    _add_doctor(commands)
    _add_devices(commands)
    _add_bind(commands)
    _add_unbind(commands)
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
    command.set_defaults(parser=command)
    return command


def _add_run(commands: Commands) -> None:
    parser = _add(
        commands,
        "run",
        "boot the VM that a YAML file describes",
        "Boot the VM that a YAML file describes. Its serial line is on stdin and stdout; when\n"
        "that is a terminal, Ctrl-A X quits and Ctrl-A H lists the other keys.\n\n"
        "  pyvmm run configs/edu.yaml --set memory=128M\n"
        "  pyvmm run --lab configs/edu.yaml",
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
    lab = parser.add_argument_group("in the lab", "options as for `pyvmm lab run`")
    lab.add_argument(
        "--lab", action="store_true", help="run it in the lab, a machine in software: see pyvmm lab"
    )
    lab.add_argument(
        "--lab-without-kvm", action="store_true", help="the same if /dev/kvm can't be used here"
    )
    add_machine_options(lab)
    parser.set_defaults(command=late("run"))


def _add_serve(commands: Commands) -> None:
    parser = _add(
        commands,
        "serve",
        "serve device models over vfio-user",
        "Serve device models written in Python to any vfio-user client (pyvmm, QEMU's\n"
        "vfio-user-pci, ...): each on a socket of its own, one client at a time. On a terminal a\n"
        "table shows what they are asked for. Exits with 0 on SIGINT and SIGTERM, and when the\n"
        "clients of all --fd are gone.\n\n"
        "  pyvmm serve edu --socket /tmp/edu.sock\n"
        "  pyvmm serve edu --socket /tmp/edu.sock testdev --socket /tmp/testdev.sock\n\n"
        "Without --socket and --fd, systemd's socket units give the sockets (LISTEN_FDS): by the\n"
        "models' names (FileDescriptorName=), or else in order.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="models' names; `pyvmm models` lists them; or a file of one's own, as in mine.py or "
        "mine.py:Class",
    )
    parser.add_argument(
        "--socket",
        "--socket-path",
        dest="places",
        metavar="PATH",
        type=path,
        action="append",
        default=[],
        help="listen on this UNIX socket; with several models, one for each, in order",
    )
    parser.add_argument(
        "--fd",
        dest="places",
        metavar="N",
        type=descriptor,
        action="append",
        default=[],
        help="serve on this inherited socket instead: one client if it is connected, or all that "
        "come if it listens",
    )
    parser.add_argument(
        "-o",
        "--option",
        metavar="[MODEL.]KEY=VALUE",
        type=pair,
        action="append",
        default=[],
        help="an option of the model, such as dma_mask=0xffffffff; with several models, say whose: "
        "edu.dma_mask=0xffffffff",
    )
    parser.set_defaults(command=late("serve"), words="model", check=_check_serve)


def _check_serve(options: argparse.Namespace) -> str:
    from .serve import check

    return check(options)


def _add_models(commands: Commands) -> None:
    _add(
        commands,
        "models",
        "list the device models",
        "List the device models that `pyvmm serve` and a config's devices can name.",
    ).set_defaults(command=late("models"))


def _add_schema(commands: Commands) -> None:
    _add(
        commands,
        "schema",
        "print the JSON Schema of the YAML files",
        "Print the JSON Schema of VM configs, for editors and validators.",
    ).set_defaults(command=late("schema"))


def _add_doctor(commands: Commands) -> None:
    parser = _add(
        commands,
        "doctor",
        "tell what stops device assignment on this host",
        "Tell what this host has of all that it takes to assign a device (IOMMU, interrupt\n"
        "remapping, VFIO, limits, KVM), what is missing, and what to do. Changes nothing. Exits\n"
        f"with {HOST_DEVICE} if there is something without which no device can be assigned.\n\n"
        "  pyvmm doctor\n"
        "  pyvmm lab run -- pyvmm doctor",
    )
    parser.add_argument("--json", action="store_true", help="the same, as JSON for programs")
    parser.set_defaults(command=late("doctor"))


def _add_devices(commands: Commands) -> None:
    parser = _add(
        commands,
        "devices",
        "list this host's PCI devices, and which can be assigned",
        "List the PCI devices of this host: names (from the system's pci.ids), drivers, IOMMU\n"
        "groups, the ways to reset them, and why each can or can't be assigned.\n\n"
        "  pyvmm devices\n"
        "  pyvmm devices 0000:01:00.0 01:00.1\n"
        "  pyvmm devices --json | jq '.[] | select(.assignable.answer == \"now\") | .address'",
    )
    parser.add_argument("address", metavar="BDF", nargs="*", type=address, help="only these")
    parser.add_argument("--json", action="store_true", help="everything, as JSON for programs")
    parser.set_defaults(command=late("devices"))


def _add_bind(commands: Commands) -> None:
    parser = _add(
        commands,
        "bind",
        "take PCI devices of this host for VFIO",
        "Give PCI devices of this host to vfio-pci, so that they can be assigned; all or none.\n"
        "What the host can't do without (the root disk, the only network route, the console) is\n"
        "refused. `pyvmm unbind` gives them back to the drivers that they had.\n\n"
        "  sudo pyvmm bind 0000:01:00.0\n"
        "  sudo pyvmm bind --group --user $USER 01:00.0",
    )
    _add_addresses(parser)
    parser.add_argument(
        "--user",
        metavar="NAME",
        type=user,
        help="let this user open them, who needs no privileges then",
    )
    parser.add_argument(
        "--force", action="store_true", help="also what the host needs; it is lost to the host"
    )
    parser.set_defaults(command=late("bind", "bind_command"))


def _add_unbind(commands: Commands) -> None:
    parser = _add(
        commands,
        "unbind",
        "give PCI devices back to this host's drivers",
        "Give PCI devices back to the drivers that they had before `pyvmm bind`; those that were\n"
        "VFIO's without it, to the driver that the kernel chooses.\n\n"
        "  sudo pyvmm unbind 0000:01:00.0",
    )
    _add_addresses(parser)
    parser.set_defaults(command=late("bind", "unbind_command"))


def _add_addresses(parser: _Parser) -> None:
    parser.add_argument(
        "address",
        metavar="BDF",
        nargs="+",
        type=address,
        help="a device's address, such as 0000:01:00.0",
    )
    parser.add_argument(
        "--group", action="store_true", help="also all other devices of their IOMMU groups"
    )
