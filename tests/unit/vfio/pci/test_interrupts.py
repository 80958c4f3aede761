# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts: counted, waited for in each way, and woken from when there will be none."""

from __future__ import annotations

import asyncio
import errno
import select
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyvmm.models import testdev
from pyvmm.vfio import DeviceError, DeviceGone, InterruptTimeout, PciDevice, VfioError
from pyvmm.vfio.pci.loss import Loss

LIMIT = 30  # seconds; nothing here takes as long
SHORT = 0.3  # for what is to wait, and could otherwise have been done
RAISE, INTX = 0x10, 0x14


def test_how_many_there_are(dev: PciDevice) -> None:
    kinds = (dev.intx, dev.msi, dev.msix, dev.err, dev.req)
    assert [kind.count for kind in kinds] == [1, 8, 64, 0, 0]
    assert dev.intx.info.automasked


@pytest.mark.parametrize("kind", ["msi", "msix"])
def test_vectors_are_counted_each_for_itself(dev: PciDevice, kind: str) -> None:
    irqs = getattr(dev, kind).enable(3)
    assert [irq.vector for irq in irqs] == [0, 1, 2]
    bar = dev.bars[0]
    bar.u32[RAISE] = 1
    bar.u32[RAISE] = 1
    bar.u32[RAISE] = 2
    assert [irq.take() for irq in irqs] == [0, 2, 1]
    assert irqs[1].take() == 0


def test_wait(dev: PciDevice) -> None:
    irqs = dev.msix.enable(2)
    threading.Timer(0.05, lambda: dev.bars[0].u32.__setitem__(RAISE, 1)).start()
    assert irqs[1].wait(LIMIT) == 1
    with pytest.raises(InterruptTimeout) as caught:
        irqs[1].wait(0.01)
    assert str(caught.value) == "testdev: MSI-X vector 1: no interrupt within 0.01 s"
    assert isinstance(caught.value, TimeoutError)


def test_it_can_be_polled(dev: PciDevice) -> None:
    (irq,) = dev.msi.enable()
    poll = select.poll()
    poll.register(irq, select.POLLIN)
    assert poll.poll(0) == []
    irq.trigger()
    assert poll.poll(0) == [(irq.fileno(), select.POLLIN)]


def test_tasks_wait_side_by_side(dev: PciDevice) -> None:
    irqs = dev.msix.enable(2)

    async def scenario() -> list[int]:
        waiting = [asyncio.create_task(irq.wait_async()) for irq in irqs]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        for vector in (0, 1):
            dev.bars[0].u32[RAISE] = vector
        return await asyncio.gather(*waiting)

    assert asyncio.run(asyncio.wait_for(scenario(), LIMIT)) == [1, 1]


def test_two_tasks_wait_for_one_vector(dev: PciDevice) -> None:
    (irq,) = dev.msix.enable()

    async def scenario() -> None:
        waiting = {asyncio.create_task(irq.wait_async()) for _ in range(2)}
        await asyncio.sleep(0)
        for _ in range(2):
            irq.trigger()
            done, waiting = await asyncio.wait(
                waiting, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED
            )
            assert [task.result() for task in done] == [1]

    asyncio.run(scenario())


def test_a_wait_that_is_given_up_leaves_the_interrupt(dev: PciDevice) -> None:
    (irq,) = dev.msix.enable()

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(irq.wait_async(), 0.01)
        irq.trigger()
        assert await irq.wait_async() == 1

    asyncio.run(scenario())


def test_intx_masks_itself(dev: PciDevice) -> None:
    (irq,) = dev.intx.enable()
    assert irq.automasked
    bar = dev.bars[0]
    bar.u32[INTX] = 1
    assert irq.wait(LIMIT) == 1
    bar.u32[INTX] = 0
    bar.u32[INTX] = 1
    assert irq.take() == 0
    irq.unmask()
    assert irq.wait(LIMIT) == 1
    bar.u32[INTX] = 0
    irq.unmask()
    irq.mask()
    bar.u32[INTX] = 1
    assert irq.take() == 0
    irq.unmask()
    assert irq.wait(LIMIT) == 1


@pytest.mark.parametrize("do", [lambda irq: irq.mask(), lambda irq: irq.unmask()])
def test_messages_are_not_masked_by_vfio(dev: PciDevice, do: Callable[[object], None]) -> None:
    (irq,) = dev.msix.enable()
    with pytest.raises(DeviceError, match="VFIO masks only INTx") as caught:
        do(irq)
    assert caught.value.errno == errno.ENOTTY


@pytest.mark.parametrize("count", [-1, 0, 9])
def test_more_than_there_are(dev: PciDevice, count: int) -> None:
    with pytest.raises(DeviceError, match="there are 8") as caught:
        dev.msi.enable(count)
    assert caught.value.errno == errno.EINVAL
    dev.msi.enable(8)


def test_one_kind_at_a_time(dev: PciDevice) -> None:
    dev.msi.enable()
    for kind in (dev.intx, dev.msi, dev.msix):
        with pytest.raises(DeviceError, match=r"disable\(\) testdev: MSI first") as caught:
            kind.enable()
        assert caught.value.errno == errno.EBUSY
    dev.msi.disable()
    assert not dev.msi.enabled
    dev.msix.enable()


def test_a_refusal_leaves_nothing_behind(
    dev: PciDevice, model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch, no_leaks: None
) -> None:
    def refuse(*args: object) -> None:
        raise DeviceError.answered("no", errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr(model, "set_irqs", refuse)
        with pytest.raises(DeviceError):
            dev.msix.enable(4)
    assert not dev.msix.enabled
    dev.msix.enable(4)
    dev.msix.disable()


def blocked(wait: Callable[[], int]) -> tuple[threading.Thread, list[VfioError]]:
    """A thread that waits, and what it is told in the end."""
    told: list[VfioError] = []
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            wait()
        except VfioError as error:
            told.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(LIMIT)
    return thread, told


def test_disabling_wakes_who_waits(dev: PciDevice) -> None:
    (irq,) = dev.msix.enable()
    thread, told = blocked(irq.wait)
    dev.msix.disable()
    dev.msix.disable()
    thread.join(LIMIT)
    assert [str(error) for error in told] == [
        "testdev: MSI-X vector 0: it was disabled; enable() gives new ones"
    ]
    with pytest.raises(VfioError, match="it was disabled"):
        irq.take()


def test_disabling_wakes_tasks(dev: PciDevice) -> None:
    (irq,) = dev.msix.enable()

    async def scenario() -> None:
        waiting = asyncio.create_task(irq.wait_async())
        await asyncio.sleep(0)
        dev.msix.disable()
        (again,) = dev.msix.enable()
        with pytest.raises(VfioError, match="it was disabled"):
            await asyncio.wait_for(waiting, LIMIT)
        again.trigger()
        assert await asyncio.wait_for(again.wait_async(), LIMIT) == 1

    asyncio.run(scenario())


def test_the_loss_of_the_device_wakes_who_waits(model: testdev.TestDevice) -> None:
    loss = Loss()
    with PciDevice(model, loss) as dev:
        (irq,) = dev.msix.enable()
        thread, told = blocked(irq.wait)
        loss.happened(DeviceGone("its server died"))
        thread.join(LIMIT)
        assert isinstance(told[0], DeviceGone)
        assert "the device has gone: its server died" in str(told[0])
        with pytest.raises(DeviceGone):
            irq.wait(0)


def test_interrupts_go_on_after_a_reset(dev: PciDevice) -> None:
    irqs = dev.msix.enable(2)
    dev.reset()
    dev.bars[0].u32[RAISE] = 1
    assert irqs[1].wait(LIMIT) == 1


def in_mid_call(
    monkeypatch: pytest.MonkeyPatch, model: testdev.TestDevice, other: Callable[[], object]
) -> list[threading.Thread]:
    """Have another thread begin with something while the device is told of its triggers."""
    set_irqs = model.set_irqs
    threads: list[threading.Thread] = []

    def slow(*args: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=other))
            threads[0].start()
            threads[0].join(SHORT)
        set_irqs(*args)

    monkeypatch.setattr(model, "set_irqs", slow)
    return threads


def test_enabling_twice_at_once(
    dev: PciDevice, model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second is told so, and takes away nothing."""
    told: list[int] = []

    def second() -> None:
        try:
            dev.msi.enable()
        except DeviceError as error:
            told.append(error.errno)

    threads = in_mid_call(monkeypatch, model, second)
    (irq,) = dev.msix.enable()
    threads[0].join(LIMIT)
    assert told == [errno.EBUSY]
    irq.trigger()
    assert irq.wait(LIMIT) == 1


def test_closing_while_they_are_enabled(
    model: testdev.TestDevice, monkeypatch: pytest.MonkeyPatch, no_leaks: None
) -> None:
    dev = PciDevice(model)
    threads = in_mid_call(monkeypatch, model, dev.close)
    (irq,) = dev.msix.enable()
    with pytest.raises(VfioError):
        irq.wait(LIMIT)
    threads[0].join(LIMIT)
    with pytest.raises(DeviceGone, match="closed"):
        dev.msix.enable()


@pytest.mark.parametrize("do", [lambda irq: irq.trigger(), lambda irq: irq.unmask()])
def test_what_was_disabled_has_no_hand_in_what_came_after(
    dev: PciDevice, do: Callable[[object], None]
) -> None:
    (old,) = dev.intx.enable()
    dev.intx.disable()
    (new,) = dev.intx.enable()
    with pytest.raises(VfioError, match="it was disabled"):
        do(old)
    assert new.take() == 0
