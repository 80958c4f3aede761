# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""An assigned device's BARs, as a running guest reaches them: mapped, trapped, by eventfd."""

from __future__ import annotations

import pytest

from pyvmm.vfio import DeviceGone
from tests.kvm.kvm_room.conftest import LIMIT
from tests.kvm.pci.conftest import (
    BAR0,
    COMMAND,
    IO,
    MEMORY,
    MOVED,
    PORTS,
    READY,
    SMALL,
    TINY,
    WIDE,
    Machine,
)

pytestmark = pytest.mark.kvm

# Read a dword of the BAR at %rdi, plus an offset, and say what it was.
SAY = """
    mov {offset}(%rdi), %eax
    mov $0x500, %dx
    out %eax, %dx
"""
DONE = """
    out %al, $0xf4
    hlt
"""


def run(machine: Machine, base: int, source: str) -> list[int]:
    """Run a program with %rdi at base; what it wrote to the port."""
    machine.guest.port.log.clear()
    machine.guest.long_mode(f"mov ${base:#x}, %rdi\n{source}{DONE}")
    machine.guest.run_until_done()
    return machine.guest.port.written


def test_mapped_memory_needs_no_exit(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.device.accesses.clear()
    source = "movl $0x12345678, 0x4000(%rdi)\n" + SAY.format(offset=0x4000)
    assert run(machine, BAR0, source) == [0x12345678]
    assert machine.device.accesses == []


def test_registers_beside_the_msix_table(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.device.contents[0][0x1010:0x1014] = b"\x11\x22\x33\x44"
    machine.device.accesses.clear()
    source = SAY.format(offset=0x1010) + "movb $0x99, 0x1011(%rdi)\n" + SAY.format(offset=0x180C)
    assert run(machine, BAR0, source) == [0x44332211, 1]
    assert machine.device.accesses == [("read", 0, 0x1010, 4), ("write", 0, 0x1011, 0x99, 1)]


def test_a_doorbell_rings_without_us(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.device.accesses.clear()
    run(machine, BAR0, "movl $1, 0x1100(%rdi)\n movw $2, 0x1100(%rdi)\n")
    assert machine.bell.wait(LIMIT)
    assert machine.bell.read() == 1
    assert machine.device.accesses == [("write", 0, 0x1100, 2, 2)], "of another size, it traps"


def test_a_moved_bar_is_where_it_is_and_nowhere_else(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    say = SAY.format(offset=0x4000) + SAY.format(offset=0x1010)
    machine.device.contents[0][0x1010] = 0x42
    run(machine, BAR0, "movl $0x77, 0x4000(%rdi)\n")
    for base, other in ((MOVED, BAR0), (BAR0, MOVED)):
        machine.config_write(COMMAND, 2, 0)
        assert run(machine, other, say) == [0xFFFFFFFF, 0xFFFFFFFF]
        machine.config_write(0x10, 4, base)
        machine.config_write(COMMAND, 2, MEMORY)
        assert run(machine, base, say) == [0x77, 0x42]
        assert run(machine, other, say) == [0xFFFFFFFF, 0xFFFFFFFF]
        run(machine, base, "movl $1, 0x1100(%rdi)\n")
        assert machine.bell.wait(LIMIT)
        machine.bell.read()


def test_a_bar_on_top_of_ram_leaves_ram_alone(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.guest.memory.write(0x14000, b"\xab\xcd\xef\x01")
    machine.config_write(0x10, 4, 0x10000)
    assert run(machine, 0x10000, SAY.format(offset=0x4000)) == [0x01EFCDAB]
    assert machine.function.guard.counts.pop("BARs on top of something else") == 1
    assert len(machine.reports) == 1
    machine.reports.clear()


def test_io_ports(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, IO)
    machine.device.contents[1][4:8] = b"\x01\x02\x03\x04"
    source = f"mov ${PORTS + 4:#x}, %dx\n in %dx, %eax\n mov $0x500, %dx\n out %eax, %dx\n"
    assert run(machine, 0, source) == [0x04030201]
    machine.config_write(COMMAND, 2, 0)
    assert run(machine, 0, source) == [0xFFFFFFFF]


def test_a_wide_bar_that_is_not_prefetchable(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.device.contents[2][8:12] = b"\1\2\3\4"
    machine.device.accesses.clear()
    source = "movl $0x77, 0x1000(%rdi)\n" + SAY.format(offset=0x1000) + SAY.format(offset=8)
    assert run(machine, WIDE, source) == [0x77, 0x04030201]
    assert machine.device.accesses == [("read", 2, 8, 4)]
    machine.config_write(0x18, 4, MOVED)
    assert run(machine, MOVED, SAY.format(offset=0x1000)) == [0x77]
    machine.config_write(0x1C, 4, 1)
    assert run(machine, MOVED, SAY.format(offset=0x1000)) == [0xFFFFFFFF], "5 GiB is elsewhere"


def test_bars_that_have_their_pages_for_themselves(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.device.accesses.clear()
    say = SAY.format(offset=0x40)
    assert run(machine, SMALL, "movl $0x44, 0x40(%rdi)\n" + say) == [0x44]
    assert run(machine, TINY, "movl $0x55, 0x40(%rdi)\n" + say) == [0x55]
    assert machine.device.accesses == [], "mapped"


def test_two_bars_in_one_page(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    run(machine, SMALL, "movl $0x44, 0x40(%rdi)\n")
    machine.config_write(0x24, 4, SMALL + 0x100)
    machine.device.contents[4][0x40], machine.device.contents[5][0x40] = 4, 5
    say = SAY.format(offset=0x40) + SAY.format(offset=0x140) + SAY.format(offset=0x1C0)
    assert run(machine, SMALL, say) == [4, 5, 0xFFFFFFFF], "trapped, and nothing beside them"
    machine.config_write(0x24, 4, TINY)
    machine.config_write(0x20, 4, SMALL)
    machine.config_write(COMMAND, 2, 0)
    machine.config_write(COMMAND, 2, MEMORY)
    assert run(machine, SMALL, SAY.format(offset=0x40)) == [0x44], "mapped again"


def test_a_lost_device_leaves_a_guest_that_uses_it(machine: Machine) -> None:
    machine.config_write(COMMAND, 2, MEMORY)
    machine.guest.long_mode(f"""
        mov ${BAR0:#x}, %rdi
        movl $0x77, 0x4000(%rdi)
        {SAY.format(offset=0x4000)}
    again:
        mov 0x4000(%rdi), %eax
        cmp $0xffffffff, %eax
        jne again
        {SAY.format(offset=0x1010)}
        movl $1, 0x1100(%rdi)
        {DONE}
    """)
    vcpu = machine.guest.run_in_background()
    assert machine.heard() == READY
    machine.device.accesses.clear()
    machine.function.lost(DeviceGone("its server died"))
    vcpu.result()
    assert machine.guest.port.written == [0x77, 0xFFFFFFFF]
    assert machine.device.accesses == []
    assert not machine.bell.pending()
    # Until all of it is taken away.
    machine.function.guard.counts.pop("accesses after the device was lost", None)
