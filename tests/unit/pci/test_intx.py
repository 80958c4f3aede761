# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""INTx: a level that is neither lost nor stuck, with the unmask eventfd and without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyvmm.pci.intx import Intx
from pyvmm.pci.pins import intx_gsi
from pyvmm.uapi.vfio import VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_UNMASK
from pyvmm.vfio import DeviceError, DeviceGone, EventFd, Fds, IrqData, VfioError
from tests.unit.pci.fake_device import INTX, FakeDevice
from tests.unit.pci.fake_vm import FakeVm

GSI = 17
LIMIT = 30.0  # seconds that a thread may take


class Guest:
    def __init__(self, *, takes_unmask_fd: bool = True, automasked: bool = True) -> None:
        self.vm = FakeVm()
        self.device = FakeDevice(intx=1)
        self.device.takes_unmask_fd = takes_unmask_fd
        if not automasked:
            self.device.kinds[INTX].flags = VFIO_IRQ_INFO_EVENTFD
        self.errors: list[Exception] = []
        self.intx = Intx(self.device, self.vm, self.errors.append)
        self.intx.gsi = GSI

    def reconcile(self, on: bool = True) -> None:
        self.intx.reconcile(on)
        self.run()

    def disable(self, disabled: bool) -> None:
        self.intx.disabled = disabled
        self.reconcile()

    def line(self, level: bool) -> None:
        self.device.set_line(level)
        self.run()

    def run(self) -> None:
        """Let the kernels do what they do, until there is nothing left."""
        for _ in range(3):
            self.vm.run()
            self.device.run()

    @property
    def asserted(self) -> bool:
        return GSI in self.vm.asserted

    def eoi(self) -> None:
        while self.device.unmasked.acquire(blocking=False):
            pass  # by reconcile()
        self.vm.eoi(GSI)
        if not self.device.takes_unmask_fd:
            assert self.device.unmasked.acquire(timeout=LIMIT)
        self.run()

    def close(self) -> None:
        self.intx.reconcile(False)
        self.device.close()


@pytest.fixture
def make(no_leaks: None) -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def new(**options: bool) -> Guest:
        made.append(Guest(**options))
        return made[-1]

    yield new
    for guest in made:
        guest.close()


def test_the_swizzle() -> None:
    assert [intx_gsi(0, pin) for pin in (1, 2, 3, 4)] == [16, 17, 18, 19]
    assert [intx_gsi(device, 1) for device in (1, 3, 4, 31)] == [17, 19, 16, 19]
    assert intx_gsi(31, 4) == 18


@pytest.mark.parametrize("takes_unmask_fd", [True, False])
def test_a_level_comes_again_until_it_is_down(
    make: Callable[..., Guest], takes_unmask_fd: bool
) -> None:
    guest = make(takes_unmask_fd=takes_unmask_fd)
    before = threading.active_count()
    guest.reconcile()
    assert (threading.active_count() == before) == takes_unmask_fd
    guest.line(True)
    for _ in range(3):
        assert guest.asserted
        guest.eoi()
    guest.line(False)
    assert guest.asserted, "only the guest's EOI takes it back"
    guest.eoi()
    assert not guest.asserted
    guest.line(True)
    assert guest.asserted
    assert guest.errors == []
    guest.reconcile(False)
    assert threading.active_count() == before


def test_the_calls(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.reconcile()
    assert guest.vm.log == [("irqfd", GSI)]
    assert guest.device.log == [
        ("trigger", INTX, 0, 1, [True]),
        ("unmask", INTX, 0, 1, [True]),
    ]
    guest.reconcile()
    assert (len(guest.vm.log), len(guest.device.log)) == (1, 2)
    guest.disable(True)
    assert guest.vm.log[1:] == [("remove_irqfd", GSI)]
    assert guest.device.log[2:] == [("mask", INTX, 0, 1, None)]
    guest.disable(False)
    assert guest.vm.log[2:] == [("irqfd", GSI)]
    assert guest.device.log[3:] == [("unmask", INTX, 0, 1, None)]
    guest.reconcile(False)
    assert guest.vm.log[3:] == [("remove_irqfd", GSI)]
    assert guest.device.log[4:] == [("trigger", INTX, 0, 0, None)]


def test_a_line_that_is_up_before_it_is_connected(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.line(True)
    guest.reconcile()
    assert guest.asserted


@pytest.mark.parametrize("takes_mask", [True, False])
def test_disabled_goes_down_and_comes_back(make: Callable[..., Guest], takes_mask: bool) -> None:
    guest = make()
    guest.device.takes_mask = takes_mask
    guest.reconcile()
    guest.line(True)
    guest.disable(True)
    assert not guest.asserted
    guest.disable(False)
    assert guest.asserted, "the device still asserts it"
    guest.line(False)
    guest.eoi()
    guest.disable(True)
    guest.line(True)
    assert not guest.asserted
    guest.disable(False)
    assert guest.asserted, "it rose meanwhile"
    assert guest.device.kinds[INTX].enabled, "and was enabled all the time"


def test_disabled_from_the_start_the_device_is_left_alone(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.disable(True)
    assert (guest.vm.log, guest.device.log) == ([], [])


def test_nowhere_to_go(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.intx.gsi = 0
    guest.reconcile()
    assert (guest.vm.log, guest.device.log) == ([], [])


def test_a_device_that_does_not_mask_itself_is_not_unmasked(make: Callable[..., Guest]) -> None:
    guest = make(automasked=False)
    guest.reconcile()
    assert guest.device.log == [("trigger", INTX, 0, 1, [True])]


@pytest.mark.parametrize("refuses", [False, True])
def test_a_device_that_does_not_mask_itself_is_told_of_each_eoi(
    make: Callable[..., Guest], refuses: bool
) -> None:
    """Until it refuses: then it isn't asked again, and nobody is told that something failed."""
    guest = make(automasked=False)
    guest.reconcile()
    unmasks = []

    def set_irqs(index: int, action: int, start: int, count: int, data: IrqData) -> None:
        unmasks.append((index, action, start, count, data))
        came.release()
        if refuses:
            raise DeviceError.answered("unmasking", 22)

    came = threading.Semaphore(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guest.device, "set_irqs", set_irqs)
        for turn in range(3):
            guest.line(True)
            assert guest.asserted
            guest.vm.eoi(GSI)
            if not (refuses and turn):
                assert came.acquire(timeout=LIMIT)
            guest.line(False)
            guest.device.line_masked = False
        if refuses:
            assert not came.acquire(timeout=0.05)
    assert unmasks == [(INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, None)] * (1 if refuses else 3)
    assert guest.errors == []


def test_what_fails_half_way_is_undone(make: Callable[..., Guest]) -> None:
    guest = make()
    guest.device.refuse_irqs = DeviceGone("gone")
    with pytest.raises(DeviceGone):
        guest.reconcile()
    assert guest.vm.log == [("irqfd", GSI), ("remove_irqfd", GSI)]
    guest.device.refuse_irqs = None
    guest.reconcile()
    guest.line(True)
    assert guest.asserted


@pytest.mark.parametrize("error", [DeviceError("no", 5), KeyError("a mistake in a model")])
def test_a_message_that_fails_is_told_and_the_next_goes_through(
    make: Callable[..., Guest], error: Exception
) -> None:
    guest = make(takes_unmask_fd=False)
    guest.reconcile()
    guest.line(True)
    guest.device.refuse_irqs = error
    guest.eoi()
    guest.device.refuse_irqs = None
    assert not guest.asserted
    guest.intx.reconcile(False)
    assert guest.errors == [error]
    guest.reconcile()
    assert guest.asserted
    guest.eoi()
    assert guest.asserted


def test_a_device_that_is_slow_to_unmask_keeps_nobody_else_waiting(
    make: Callable[..., Guest],
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    slow, other = make(takes_unmask_fd=False), make(takes_unmask_fd=False)
    unmask = slow.device._unmask

    def unmask_slowly(kind: Any, data: IrqData) -> None:
        if data is None:
            asked.set()
            assert go_on.wait(LIMIT)
        unmask(kind, data)

    slow.device._unmask = unmask_slowly  # type: ignore[method-assign]
    for guest in (slow, other):
        guest.reconcile()
        guest.line(True)
    slow.vm.eoi(GSI)
    assert asked.wait(LIMIT)
    for _ in range(3):
        other.eoi()
        assert other.asserted
    go_on.set()
    assert slow.device.unmasked.acquire(timeout=LIMIT)
    slow.run()
    assert slow.asserted


def test_taken_back_by_the_thread_that_unmasks(make: Callable[..., Guest]) -> None:
    """As when it finds the device lost, and the function is removed on the spot."""
    guest = make(takes_unmask_fd=False)
    done = threading.Event()
    threads: list[threading.Thread] = []

    def failed(error: Exception) -> None:
        guest.device.refuse_irqs = None
        guest.intx.reconcile(False)
        threads.append(threading.current_thread())
        done.set()

    guest.intx = Intx(guest.device, guest.vm, failed)
    guest.intx.gsi = GSI
    guest.reconcile()
    guest.line(True)
    guest.device.refuse_irqs = DeviceGone("the server died")
    guest.vm.eoi(GSI)
    assert done.wait(LIMIT)
    threads[0].join(LIMIT)
    assert not threads[0].is_alive()
    assert guest.vm.irqfds == {}


def test_a_device_that_reads_what_it_was_sent_does_not_keep_the_thread(
    make: Callable[..., Guest],
) -> None:
    """It has refused the unmask eventfd, but kept it, and takes every signal there is."""
    guest = make(takes_unmask_fd=False)
    unmask = guest.device._unmask
    kept: list[EventFd] = []

    def keep(kind: Any, data: IrqData) -> None:
        if isinstance(data, Fds):
            kept.append(EventFd.from_fd(data[0]))
        unmask(kind, data)

    guest.device._unmask = keep  # type: ignore[method-assign]
    done = threading.Event()
    signalled: list[bool] = []

    def failed(error: Exception) -> None:
        # On its own thread, which reads nothing until we are through.
        guest.device.refuse_irqs = None
        guest.intx.reconcile(False)
        signalled.append(kept[0].pending())
        done.set()

    guest.intx = Intx(guest.device, guest.vm, failed)
    guest.intx.gsi = GSI
    guest.reconcile()
    with kept[0]:
        guest.line(True)
        guest.device.refuse_irqs = DeviceGone("the server died")
        guest.vm.eoi(GSI)
        assert done.wait(LIMIT)
        assert signalled == [False], "a stop that the device can steal"


def test_no_thread_left(make: Callable[..., Guest], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    guest = make(takes_unmask_fd=False)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        with pytest.raises(VfioError, match=r"INTx of .*: can't start new thread; raise"):
            guest.reconcile()
    assert guest.vm.irqfds == {}
    guest.reconcile()
    guest.line(True)
    assert guest.asserted


class IntxMachine(RuleBasedStateMachine):
    """Random lines, EOIs and Interrupt Disable bits."""

    @initialize(takes_unmask_fd=st.booleans())
    def start(self, takes_unmask_fd: bool) -> None:
        self.guest = Guest(takes_unmask_fd=takes_unmask_fd)
        self.wanted = False
        self.line = False
        self.enabled = False
        self.may_linger = False
        """The line went down and there has been no EOI since"""

    @rule(on=st.booleans(), disabled=st.booleans())
    def reconfigure(self, on: bool, disabled: bool) -> None:
        self.guest.intx.disabled = disabled
        self.wanted = on and not disabled
        self.enabled = on and (self.enabled or not disabled)
        self.guest.reconcile(on)
        if not self.wanted:
            self.may_linger = False

    @rule(level=st.booleans())
    def device_drives(self, level: bool) -> None:
        if self.wanted and self.line and not level:
            self.may_linger = True
        self.line = level
        self.guest.line(level)

    @rule()
    def guest_sends_eoi(self) -> None:
        if self.guest.asserted:
            self.guest.eoi()
            self.may_linger = False

    @invariant()
    def asserted_when_it_should_be(self) -> None:
        if not self.wanted:
            assert not self.guest.asserted
        elif self.line:
            assert self.guest.asserted
        elif not self.may_linger:
            assert not self.guest.asserted

    @invariant()
    def the_host_is_as_wanted(self) -> None:
        assert bool(self.guest.device.kinds[INTX].enabled) == self.enabled
        assert len(self.guest.vm.irqfds) == self.wanted

    def teardown(self) -> None:
        if hasattr(self, "guest"):
            assert self.guest.errors == []
            self.guest.close()


TestIntxMachine = IntxMachine.TestCase
