# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Monitor: commands that ask about a machine, or do something to it, from text to text.

Who types them is elsewhere: a terminal after Ctrl-A C (stdio.py), or a client of the monitor's
socket (monitor_socket.py). No command waits for the guest, and but one for a device: `replug`,
for the servers of lost ones.
"""

from __future__ import annotations

from pyvmm.kvm import KvmError

from .._counted import counted
from .counters import counters
from .errors import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .machine import Machine

PROMPT = "(pyvmm) "

_COMMANDS = {
    "status": "what the machine is doing, since when, and how often it was reset",
    "devices": "its PCI devices: slot, BARs, interrupts in use, resets",
    "exits": "KVM's counters by kind, and accesses that nobody answers",
    "vcpus": "where each vCPU is",
    "reset": "reset the guest, as a PC's button does",
    "replug": "have lost devices back whose servers run again, without a reset",
    "quit": "end the run",
    "help": "this list",
}


class Monitor:
    """The commands of one machine. From any thread but a vCPU's."""

    def __init__(self, vm: Machine) -> None:
        self._vm = vm

    def execute(self, line: str) -> str:
        """The answer to a command: lines, each with its end, or nothing to an empty one.

        A command may be cut short, as long as no other begins like that.
        """
        words = line.split()
        if not words:
            return ""
        matching = [name for name in _COMMANDS if name.startswith(words[0])]
        if words[0] in _COMMANDS:
            matching = [words[0]]
        if len(matching) != 1:
            found = f"{' and '.join(matching)} begin like that" if matching else "no such command"
            return f"{words[0]}: {found}; `help` lists them\n"
        if len(words) > 1:
            return f"{matching[0]} takes no argument, got {words[1]}\n"
        try:
            command: Callable[[], Iterable[str]] = getattr(self, f"_{matching[0]}")
            return "".join(f"{line}\n" for line in command())
        except KvmError as error:
            return f"{error}\n"

    def _status(self) -> Iterable[str]:
        vm = self._vm
        config = vm.config
        mib = config.memory.size >> 20
        yield f"{config.name}: {counted(config.cpus, 'vCPU')}, {mib} MiB of RAM"
        if vm.outcome is not None:
            yield f"has ended: {vm.outcome.detail}"
        elif vm.uptime is None:
            yield "is being built"
        else:
            yield f"has been running for {vm.uptime:.0f} s"
        if vm.resets:
            yield f"resets: {vm.resets}, the last one because: {vm.last_reset}"

    def _devices(self) -> Iterable[str]:
        from .device_list import device_list

        return device_list(self._vm)

    def _exits(self) -> Iterable[str]:
        return counters(self._vm)

    def _vcpus(self) -> Iterable[str]:
        return self._vm.whereabouts().splitlines()

    def _reset(self) -> Iterable[str]:
        if self._vm.uptime is None or self._vm.outcome is not None:
            return ["there is no guest that runs"]
        self._vm.request_reset("reset by the monitor")
        return ["the guest is being reset"]

    def _replug(self) -> Iterable[str]:
        try:
            names = self._vm.replug()
        except MachineError as error:
            return [str(error)]
        missing = [device for device in self._vm.devices if device.missing is not None]
        return [
            *(f"{name} is back: have the guest look for it" for name in names),
            *(f"{device.device.name} is not back: {device.missing}" for device in missing),
        ] or ["no device was lost"]

    def _quit(self) -> Iterable[str]:
        self._vm.request_stop("quit by the monitor")
        return ["the run ends"]

    def _help(self) -> Iterable[str]:
        return [f"{name:<8} {what}" for name, what in _COMMANDS.items()]
