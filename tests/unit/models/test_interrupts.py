# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of a model, through the seam: what vfio-pci does for a device in hardware."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyvmm.models import Bar, Identity, Model, Msi, MsiX
from pyvmm.uapi.pci_regs import (
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_MASTER,
    PCI_STATUS,
    PCI_STATUS_INTERRUPT,
)
from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS,
    VFIO_PCI_REQ_IRQ_INDEX,
)
from pyvmm.vfio import DeviceError, EventFd, Fds

INTX, MSI, MSIX = VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
TRIGGER, MASK, UNMASK = (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_UNMASK,
)
PBA = 0x800


class Line(Model):
    """A device with all kinds of interrupts and nothing else."""

    identity = Identity(0x1234, 0x0002, class_code=0xFF0000)
    interrupt_pin = 1
    capabilities = (Msi(8), MsiX(70, table=(0, 0), pba=(0, PBA)))
    bar0 = Bar(0, 0x1000)


class Quiet(Model):
    """A device without interrupts."""

    identity = Identity(0x1234, 0x0003, class_code=0xFF0000)


def set_command(model: Model, value: int) -> None:
    model.region_write(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, value.to_bytes(2, "little"))


def settle(model: Model) -> None:
    """Wait until the model's events thread has seen all eventfds signalled before this."""
    for _ in range(2):  # it looks at eventfds after its timers
        seen = threading.Event()
        model.call_later(0, seen.set)
        assert seen.wait(30)


@pytest.fixture
def line() -> Iterator[Line]:
    with Line("line") as line:
        set_command(line, PCI_COMMAND_MASTER)
        yield line


@pytest.fixture
def fds() -> Iterator[list[EventFd]]:
    fds = [EventFd() for _ in range(8)]
    yield fds
    for fd in fds:
        fd.close()


def counts(fds: list[EventFd]) -> list[int]:
    return [fd.read() for fd in fds]


def refused(number: int, line: Model, *arguments: object) -> str:
    with pytest.raises(DeviceError) as caught:
        line.set_irqs(*arguments)  # type: ignore[arg-type]
    assert caught.value.errno == number
    return str(caught.value)


def test_info() -> None:
    with Line() as line, Quiet() as quiet:
        intx, msi, msix = (line.irq_info(index) for index in (INTX, MSI, MSIX))
        assert (intx.count, intx.eventfd, intx.maskable, intx.automasked) == (1, True, True, True)
        assert (msi.count, msi.eventfd, msi.maskable, msi.noresize) == (8, True, False, False)
        assert (msix.count, msix.noresize) == (70, False)
        for index in range(VFIO_PCI_NUM_IRQS):
            assert quiet.irq_info(index).count == 0
        for index in (VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX):
            assert line.irq_info(index).count == 0
        for index in (-1, VFIO_PCI_NUM_IRQS, 1 << 40):
            with pytest.raises(DeviceError, match="EINVAL"):
                line.irq_info(index)


def test_intx_signals_once_until_it_is_unmasked(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    line.set_intx(True)
    line.set_intx(True)
    line.set_intx(False)
    line.set_intx(True)
    assert fds[0].read() == 1
    line.set_irqs(INTX, UNMASK, 0, 1, None)
    assert fds[0].read() == 1, "the line is still up"
    line.set_intx(False)
    line.set_irqs(INTX, UNMASK, 0, 1, None)
    assert fds[0].read() == 0


def test_a_line_that_is_up_signals_as_soon_as_it_can(line: Line, fds: list[EventFd]) -> None:
    line.set_intx(True)
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    assert fds[0].read() == 1


def test_the_status_register_shows_the_line_whatever_is_enabled(line: Line) -> None:
    def shown() -> bool:
        return bool(line.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT)

    line.set_intx(True)
    assert shown()
    set_command(line, PCI_COMMAND_INTX_DISABLE)
    assert shown()
    line.set_intx(False)
    assert not shown()


def test_intx_without_an_eventfd_waits_for_one(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(INTX, 0, [-1])
    line.set_intx(True)
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    assert fds[0].read() == 1
    line.set_triggers(INTX, 0, [-1])
    line.set_irqs(INTX, UNMASK, 0, 1, None)
    line.set_triggers(INTX, 0, [fds[1].fileno()])
    assert fds[1].read() == 1


def test_interrupt_disable_holds_intx_back(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    set_command(line, PCI_COMMAND_INTX_DISABLE)
    line.set_intx(True)
    assert fds[0].read() == 0
    set_command(line, 0)
    assert fds[0].read() == 1


def test_intx_is_unmasked_by_an_eventfd(line: Line, fds: list[EventFd]) -> None:
    trigger, unmask = fds[:2]
    line.set_triggers(INTX, 0, [trigger.fileno()])
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([unmask.fileno()]))
    line.set_intx(True)
    for _ in range(3):
        assert trigger.wait(30)
        assert trigger.read() == 1
        unmask.signal()
    assert trigger.wait(30)
    line.set_intx(False)
    trigger.read()
    unmask.signal()
    settle(line)
    assert not trigger.pending()


def test_an_unmask_eventfd_replaces_the_one_before(line: Line, fds: list[EventFd]) -> None:
    """QEMU closes the old one, which vfio-pci would notice and a served model can't."""
    trigger, before, unmask = fds[:3]
    line.set_triggers(INTX, 0, [trigger.fileno()])
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([before.fileno()]))
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([unmask.fileno()]))
    line.set_intx(True)
    assert trigger.read() == 1
    before.signal()
    settle(line)
    assert before.pending(), "nobody reads it any more"
    assert not trigger.pending()
    unmask.signal()
    assert trigger.wait(30)


def test_an_unmask_eventfd_is_taken_away(line: Line, fds: list[EventFd]) -> None:
    trigger, unmask = fds[:2]
    line.set_triggers(INTX, 0, [trigger.fileno()])
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([unmask.fileno()]))
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([-1]))
    line.set_intx(True)
    assert trigger.read() == 1
    unmask.signal()
    settle(line)
    assert unmask.pending(), "nobody reads it any more"
    assert not trigger.pending()
    line.set_irqs(INTX, UNMASK, 0, 1, Fds([fds[2].fileno()]))


def test_masking_and_unmasking_by_message(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    line.set_irqs(INTX, MASK, 0, 1, None)
    line.set_intx(True)
    assert fds[0].read() == 0
    line.set_irqs(INTX, UNMASK, 0, 1, [False])
    assert fds[0].read() == 0
    line.set_irqs(INTX, UNMASK, 0, 1, [True])
    assert fds[0].read() == 1


def test_messages_go_to_their_vectors(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(MSIX, 2, [fd.fileno() for fd in fds[:3]])
    for vector in (2, 3, 3, 4):
        line.signal(vector)
    assert counts(fds) == [1, 2, 1, 0, 0, 0, 0, 0]
    assert line.irq_mode == MSIX


def test_msi_alone(line: Line, fds: list[EventFd]) -> None:
    assert line.irq_mode == INTX
    line.set_triggers(MSI, 0, [fd.fileno() for fd in fds])
    assert line.irq_mode == MSI
    line.signal(7)
    assert counts(fds) == [0, 0, 0, 0, 0, 0, 0, 1]


def test_sub_ranges_change_only_their_own_vectors(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(MSIX, 0, [fd.fileno() for fd in fds[:4]])
    line.set_triggers(MSIX, 1, [fds[4].fileno(), -1])
    line.set_triggers(MSIX, 10, [fds[5].fileno()])  # more vectors later: no NORESIZE
    for vector in (0, 1, 2, 3, 10):
        line.signal(vector)
    assert counts(fds) == [1, 0, 0, 1, 1, 1, 0, 0]


def test_a_vector_without_eventfd_is_pending_until_it_has_one(
    line: Line, fds: list[EventFd]
) -> None:
    """As a vector that is masked: its bit in the PBA is set, and it is sent on unmasking."""
    line.set_triggers(MSIX, 0, [-1])
    line.signal(3)
    line.signal(3)
    line.signal(65)
    assert line.region_read(0, PBA, 16) == bytes([8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
    line.set_triggers(MSIX, 3, [fds[0].fileno()])
    assert fds[0].read() == 1
    assert line.region_read(0, PBA, 4) == bytes(4)
    line.disable_irqs(MSIX)
    assert line.region_read(0, PBA, 16) == bytes(16)


def test_the_msix_table_keeps_what_is_written_and_starts_masked(line: Line) -> None:
    assert line.region_read(0, 0, 32) == (bytes(12) + b"\1\0\0\0") * 2
    line.region_write(0, 16, bytes(range(16)))
    assert line.region_read(0, 16, 16) == bytes(range(16))


def test_nothing_is_sent_that_nobody_turned_on(line: Line, fds: list[EventFd]) -> None:
    line.signal(0)
    line.set_triggers(MSI, 0, [fds[0].fileno()])
    for vector in (-1, 8, 1 << 32):
        line.signal(vector)
    assert counts(fds) == [0] * 8
    assert line.counters["messages not sent"] == 2
    assert line.counters["signals beyond its 70 vectors"] == 2


def test_a_message_is_a_write_and_needs_bus_mastering(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(MSI, 0, [fds[0].fileno()])
    set_command(line, 0)
    line.signal(0)
    assert fds[0].read() == 0
    set_command(line, PCI_COMMAND_MASTER)
    line.signal(0)
    assert fds[0].read() == 1


def test_loop_back(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(MSIX, 0, [fd.fileno() for fd in fds[:4]])
    line.set_irqs(MSIX, TRIGGER, 1, 2, None)
    assert counts(fds)[:4] == [0, 1, 1, 0]
    line.set_irqs(MSIX, TRIGGER, 0, 4, [True, False, False, True])
    assert counts(fds)[:4] == [1, 0, 0, 1]
    line.disable_irqs(MSIX)
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    line.set_irqs(INTX, TRIGGER, 0, 1, None)
    assert counts(fds)[:2] == [1, 0]


def test_one_kind_is_on_at_a_time(line: Line, fds: list[EventFd]) -> None:
    fd = fds[0].fileno()
    for on in (INTX, MSI, MSIX):
        line.set_triggers(on, 0, [fd])
        for other in {INTX, MSI, MSIX} - {on}:
            assert "disable it first" in refused(
                errno.EINVAL, line, other, TRIGGER, 0, 1, Fds([fd])
            )
            refused(errno.EINVAL, line, other, TRIGGER, 0, 1, None)
            line.disable_irqs(other)  # does nothing: it is off
        assert line.irq_mode == on
        line.disable_irqs(on)
        line.disable_irqs(on)
    assert line.irq_mode == INTX


def test_what_the_kernel_refuses(line: Line, fds: list[EventFd]) -> None:
    fd = fds[0].fileno()
    one = Fds([fd])
    bad: list[tuple[object, ...]] = [
        (INTX, TRIGGER, 1, 1, one),
        (INTX, TRIGGER, 0, 2, Fds([fd, fd])),
        (MSI, TRIGGER, 7, 2, Fds([fd, fd])),
        (MSI, TRIGGER, -1, 1, one),
        (MSI, TRIGGER, 0, -1, None),
        (MSI, TRIGGER, 0, 2, one),
        (MSI, TRIGGER, 0, 0, Fds()),
        (MSI, TRIGGER, 0, 0, []),
        (MSI, 0, 0, 1, one),
        (MSI, TRIGGER | MASK, 0, 1, one),
        (MSI, TRIGGER, 0, 1, None),
        (MSIX, TRIGGER, 70, 0, None),
        (INTX, MASK, 0, 1, None),
        (VFIO_PCI_ERR_IRQ_INDEX, TRIGGER, 0, 0, None),
        (VFIO_PCI_NUM_IRQS, TRIGGER, 0, 1, one),
    ]
    for arguments in bad:
        refused(errno.EINVAL, line, *arguments)
    line.set_triggers(INTX, 0, [fd])
    refused(errno.ENOTTY, line, INTX, MASK, 0, 1, one)
    refused(errno.EINVAL, line, INTX, MASK, 0, 0, None)
    line.disable_irqs(INTX)
    line.set_triggers(MSI, 0, [fd])
    refused(errno.ENOTTY, line, MSI, UNMASK, 0, 1, None)


def test_what_is_no_eventfd_is_refused_and_changes_nothing(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(MSI, 0, [fds[0].fileno(), fds[1].fileno()])
    inside, outside = os.pipe()
    try:
        refused(errno.EINVAL, line, MSI, TRIGGER, 0, 2, Fds([fds[2].fileno(), outside]))
        refused(errno.EBADF, line, MSI, TRIGGER, 0, 2, Fds([fds[2].fileno(), 1 << 20]))
    finally:
        os.close(inside)
        os.close(outside)
    line.signal(0)
    assert counts(fds)[:3] == [1, 0, 0]


def test_the_model_has_references_of_its_own(line: Line) -> None:
    with EventFd() as fd:
        line.set_triggers(MSI, 0, [fd.fileno()])
        with EventFd.from_fd(fd.fileno()) as mine:
            fd.close()
            line.signal(0)
            assert mine.read() == 1


def test_a_full_eventfd_blocks_nobody(line: Line) -> None:
    blocking = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        os.eventfd_write(blocking, (1 << 64) - 2)
        line.set_triggers(MSI, 0, [blocking])
        line.signal(0)
        assert os.eventfd_read(blocking) >= (1 << 64) - 2
    finally:
        os.close(blocking)


def test_reset_withdraws_interrupts_and_leaves_them_set(line: Line, fds: list[EventFd]) -> None:
    line.set_triggers(INTX, 0, [fds[0].fileno()])
    line.set_intx(True)
    line.reset()
    fds[0].read()
    assert not line.config.u16(PCI_STATUS) & PCI_STATUS_INTERRUPT
    line.set_irqs(INTX, UNMASK, 0, 1, None)
    assert fds[0].read() == 0
    line.set_intx(True)
    assert fds[0].read() == 1
    line.disable_irqs(INTX)
    line.set_triggers(MSIX, 0, [fds[1].fileno()])
    line.signal(5)
    line.reset()
    assert line.region_read(0, PBA, 8) == bytes(8)
    line.signal(0)
    assert fds[1].read() == 1


class IntxMachine(RuleBasedStateMachine):
    """INTx against what vfio-pci does: its handler masks and signals, unmasking lets the line
    signal again at once if it is still up, and the interrupt disable bit holds it back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line = Line("line")
        self.trigger = EventFd()
        self.unmask = EventFd()
        self.on = self.level = self.disabled = self.masked = self.unmask_set = False
        self.expected = 0

    def teardown(self) -> None:
        self.line.close()
        self.trigger.close()
        self.unmask.close()

    def interrupt(self) -> None:
        """The interrupt handler: runs if the pin is up and the line not masked."""
        if self.on and self.level and not self.disabled and not self.masked:
            self.masked = True
            self.expected += 1

    @precondition(lambda self: not self.on)
    @rule()
    def enable(self) -> None:
        self.line.set_triggers(INTX, 0, [self.trigger.fileno()])
        self.on = True
        self.interrupt()

    @rule()
    def disable(self) -> None:
        self.line.disable_irqs(INTX)
        self.on = self.masked = self.unmask_set = False

    @rule()
    def assert_line(self) -> None:
        self.line.set_intx(True)
        self.level = True
        self.interrupt()

    @rule()
    def deassert_line(self) -> None:
        self.line.set_intx(False)
        self.level = False

    @rule()
    def set_interrupt_disable(self) -> None:
        set_command(self.line, PCI_COMMAND_INTX_DISABLE)
        self.disabled = True

    @rule()
    def clear_interrupt_disable(self) -> None:
        set_command(self.line, 0)
        self.disabled = False
        self.interrupt()

    @precondition(lambda self: self.on)
    @rule()
    def mask_by_message(self) -> None:
        self.line.set_irqs(INTX, MASK, 0, 1, None)
        self.masked = True

    @precondition(lambda self: self.on)
    @rule()
    def unmask_by_message(self) -> None:
        self.line.set_irqs(INTX, UNMASK, 0, 1, None)
        self.masked = False
        self.interrupt()

    @precondition(lambda self: self.on and not self.unmask_set)
    @rule()
    def set_unmask_eventfd(self) -> None:
        self.line.set_irqs(INTX, UNMASK, 0, 1, Fds([self.unmask.fileno()]))
        self.unmask_set = True

    @precondition(lambda self: self.unmask_set)
    @rule()
    def unmask_by_eventfd(self) -> None:
        self.unmask.signal()
        settle(self.line)
        self.masked = False
        self.interrupt()

    @precondition(lambda self: self.on)
    @rule()
    def loop_back(self) -> None:
        self.line.set_irqs(INTX, TRIGGER, 0, 1, None)
        self.expected += 1

    @rule()
    def reset(self) -> None:
        self.line.reset()
        self.level = False

    @invariant()
    def signals_are_as_expected(self) -> None:
        assert self.trigger.read() == self.expected
        self.expected = 0


TestIntx = IntxMachine.TestCase
