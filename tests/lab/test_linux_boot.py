# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Debian's kernels as bzImage and as vmlinux: processors, clock, memory, and no complaint."""

from __future__ import annotations

import re

import pytest

from pyvmm.boot.memory_map import E820_RAM, E820_RESERVED, memory_map
from pyvmm.kvm.cpu_features import FEATURES
from pyvmm.machine import Machine
from tests.lab.busy import BUSY
from tests.lab.guest_images import config_of

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

IMAGES = ("", "/vmlinuz")
OTHERS = ("debian:6.1-cloud/vmlinuz", "debian:6.12/vmlinuz", "debian:newest-cloud/vmlinuz")
INITRD = {"script": "tests/lab/scripts/processors.sh"}
# On a busy machine vCPUs wait for their turn: that is no stall to tell of.
CMDLINE = "quiet panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
PATIENCE = 500
"""Seconds that a boot may take on a machine that is busy."""

# What the kernels say that is no complaint about this machine.
EXPECTED = (
    # The lab's processor is AMD's, and its frequency isn't the guest's to choose.
    r"amd_pstate: the _CPC object is not present in SBIOS or ACPI disabled",
    *BUSY,
)


class Boot:
    """A guest that has run to its end: what scripts/processors.sh said, and what KVM knows."""

    def __init__(self, kernel: str, **keys: object) -> None:
        given = {"kernel": kernel, "initrd": INITRD, "cmdline": CMDLINE, "memory": "128M"}
        with Machine(config_of({**given, **keys})) as vm:
            vm.start()
            outcome = vm.wait(PATIENCE)
            self.text = vm.console.text
            assert outcome is not None, self.text
            assert outcome.ok, (outcome.detail, self.text)
            self.memory_map = memory_map(vm.memory.regions)
            self.counters = vm.stats()
            self.cpuid = {(each.function, each.index): each for each in vm.vm.vcpus[0].get_cpuid()}

    def said(self, word: str) -> list[str]:
        """The lines behind a word."""
        start = f"{word}: "
        return [line[len(start) :] for line in self.text.splitlines() if line.startswith(start)]

    def cpus(self, key: str) -> list[str]:
        """The value of a key of /proc/cpuinfo, for each processor."""
        pairs = (line.partition(": ") for line in self.said("cpu"))
        return [value for name, _, value in pairs if name == key]


def check_processors(guest: Boot, count: int) -> None:
    assert guest.cpus("processor") == [str(index) for index in range(count)]
    assert guest.cpus("apicid") == [str(index) for index in range(count)]
    assert guest.cpus("core id") == [str(index) for index in range(count)]
    assert set(guest.cpus("physical id")) == {"0"}
    assert set(guest.cpus("cpu cores")) == set(guest.cpus("siblings")) == {str(count)}
    assert guest.said("clock") == ["kvm-clock"]
    (timers,) = guest.said("timers")
    ticks = re.findall(r"\b\d+\b", timers)
    assert len(ticks) == count
    assert "0" not in ticks
    assert int(guest.said("up")[0]) >= 1


def check_memory(guest: Boot) -> None:
    kinds = {E820_RAM: "System RAM", E820_RESERVED: "Reserved"}
    told = {f"{start:#x} {start + size - 1:#x} {kinds[of]}" for start, size, of in guest.memory_map}
    assert set(guest.said("e820")) == told
    (hole,) = guest.said("mtrr")
    assert re.fullmatch(r"reg00: base=0x0c0000000 \( 3072MB\), size= 1024MB, .*uncachable", hole)


def check_few_exits(guest: Boot) -> None:
    """With a kernel for clouds, which looks for no hardware that is nowhere."""
    assert guest.counters["mmio_exits"] < 100
    report = len(guest.text)  # it takes two for each character, at the most
    assert guest.counters["io_exits"] < 2000 + 2 * report
    if guest.counters.get("pf_fixed"):
        assert guest.counters["pf_fixed"] < 5000, "of 32,768 pages: they are huge"


def complaints(guest: Boot) -> list[str]:
    return [
        line
        for line in guest.said("problem")
        if not any(re.fullmatch(rf"\[ *[\d.]+\] {each}", line) for each in EXPECTED)
    ]


@pytest.mark.boots(*({"kernel": f"debian:6.12-cloud{image}", "initrd": INITRD} for image in IMAGES))
@pytest.mark.parametrize("cpus", [1, 8])
@pytest.mark.parametrize("image", IMAGES, ids=["vmlinux", "vmlinuz"])
def test_one_kernel_both_ways(image: str, cpus: int) -> None:
    guest = Boot(f"debian:6.12-cloud{image}", cpus=cpus)
    assert complaints(guest) == []
    assert guest.said("cmdline") == [f"console=ttyS0 {CMDLINE}"]
    check_processors(guest, cpus)
    check_memory(guest)
    check_few_exits(guest)
    if image:  # the seed is there before anything else is
        assert guest.said("early") == ["random: crng init done"]


@pytest.mark.boots(*({"kernel": kernel, "initrd": INITRD} for kernel in OTHERS))
@pytest.mark.parametrize("kernel", OTHERS)
def test_other_kernels(kernel: str) -> None:
    guest = Boot(kernel, cpus=2, memory="256M")
    assert complaints(guest) == []
    check_processors(guest, 2)
    check_memory(guest)


@pytest.mark.boots({"kernel": "debian:6.12-cloud", "initrd": INITRD})
def test_features_that_are_taken_away() -> None:
    cpu = {
        "features": {"rdrand": False, "svm": False, "x2apic": True},
        "cpuid": [{"leaf": 0x4000_0001, "register": "eax", "clear": 0x0100_0009}],
    }
    guest = Boot("debian:6.12-cloud", cpu=cpu)
    (flags,) = (line.split() for line in guest.cpus("flags"))
    assert not {"rdrand", "svm"} & set(flags)
    assert guest.said("clock") != ["kvm-clock"], "the mask took it"
    # The names are Linux's for the bits, of those that come from CPUID (and aren't implied).
    for flag in set(flags) & FEATURES.keys() - {"3dnowprefetch"}:
        assert any(
            (leaf, subleaf) in guest.cpuid
            and getattr(guest.cpuid[leaf, subleaf], register) >> bit & 1
            for leaf, subleaf, register, bit in FEATURES[flag]
        ), flag
