# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Interrupts of real devices, each kind; and what the kernel makes of every way to set them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX,
)
from pyvmm.vfio import DeviceError, EventFd, Fds
from pyvmm.vfio.device import IrqData
from pyvmm.vfio.kernel import KernelDevice, open_device
from pyvmm.vfio.kernel.irqs import Interrupts
from tests.lab.profiles import BY_NAME
from tests.lab.registers import SIGNALS, Signal, enable_bus_master

INTX, MSI, MSIX = VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
ERR, REQ = VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX
TRIGGER, MASK = VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_MASK
UNMASK = VFIO_IRQ_SET_ACTION_UNMASK
KINDS_OF_IRQ = (INTX, MSI, MSIX, ERR, REQ)
COUNTS = {"nvme": (1, 0, 65), "e1000e": (1, 1, 5), "edu": (1, 1, 0)}
PATIENCE = 10.0


@pytest.fixture
def eventfds() -> Iterator[Callable[[int], list[EventFd]]]:
    with contextlib.ExitStack() as stack:
        yield lambda count: [stack.enter_context(EventFd()) for _ in range(count)]


def counted(eventfd: EventFd) -> int:
    """How often it was signalled, at least once."""
    assert eventfd.wait(PATIENCE)
    return eventfd.read()


def counts(device: KernelDevice) -> list[int]:
    return [device.irq_info(index).count for index in KINDS_OF_IRQ]


def numbers(eventfds: list[EventFd]) -> Fds:
    return Fds(eventfd.fileno() for eventfd in eventfds)


@pytest.fixture
def signal(device: KernelDevice, kind: str) -> Iterator[Signal]:
    enable_bus_master(device)
    with SIGNALS[kind](device) as signal:
        yield signal


def test_the_line(
    device: KernelDevice, signal: Signal, eventfds: Callable[[int], list[EventFd]]
) -> None:
    trigger, unmask = eventfds(2)
    info = device.irq_info(INTX)
    assert info.automasked
    assert info.maskable
    device.set_triggers(INTX, 0, [trigger.fileno()])
    signal.arm()
    signal.fire()
    assert counted(trigger) == 1, "the kernel masks it at once"
    device.set_irqs(INTX, UNMASK, 0, 1, None)
    assert counted(trigger) == 1, "it is still on"
    device.set_irqs(INTX, UNMASK, 0, 1, [False])
    device.set_irqs(INTX, UNMASK, 0, 1, Fds([unmask.fileno()]))
    unmask.signal()
    assert counted(trigger) == 1
    signal.acknowledge()
    device.set_irqs(INTX, UNMASK, 0, 1, [True])
    device.set_irqs(INTX, MASK, 0, 1, None)
    signal.fire()
    assert not trigger.pending()
    device.set_irqs(INTX, UNMASK, 0, 1, None)
    assert counted(trigger) == 1
    signal.acknowledge()
    device.set_irqs(INTX, UNMASK, 0, 1, Fds([-1]))
    device.disable_irqs(INTX)


@pytest.mark.smoke
def test_messages(
    device: KernelDevice, signal: Signal, eventfds: Callable[[int], list[EventFd]]
) -> None:
    (trigger,) = eventfds(1)
    for index in (MSI, MSIX):
        if not device.irq_info(index).count:
            continue
        enable_bus_master(device)
        device.set_triggers(index, 0, [trigger.fileno()])
        signal.arm()
        for _ in range(3):
            signal.fire()
            assert counted(trigger) == 1 or signal.repeats
            signal.acknowledge()
        if index == MSIX:  # which can be masked; MSI without an address goes astray
            device.set_triggers(index, 0, [-1])
            signal.fire()
            signal.acknowledge()
            device.set_triggers(index, 0, [trigger.fileno()])
            assert trigger.wait(PATIENCE), "it was pending"
            trigger.read()
        signal.disarm()
        device.reset()  # what is held back is not any more by the end of it: see _E1000e
        device.disable_irqs(index)


def test_loop_back_and_sub_ranges(
    device: KernelDevice, kind: str, eventfds: Callable[[int], list[EventFd]]
) -> None:
    *of_pci, err, req = counts(device)
    assert tuple(of_pci) == COUNTS[kind]
    assert req == 1
    assert err == 1 or kind == "edu", "before Linux 7 only PCI Express devices have it"
    for index, count in zip(KINDS_OF_IRQ, counts(device), strict=True):
        device.disable_irqs(index)
        if not count:
            continue
        triggers = eventfds(count)
        device.set_triggers(index, 0, numbers(triggers))
        device.set_irqs(index, TRIGGER, 0, count, None)
        device.set_irqs(index, TRIGGER, 0, count, [number % 2 == 0 for number in range(count)])
        assert [t.read() for t in triggers] == [2 - number % 2 for number in range(count)]
        if count > 3:
            device.set_triggers(index, 1, [-1, triggers[0].fileno()])
            device.set_irqs(index, TRIGGER, 0, count, None)
            assert [t.read() for t in triggers[:4]] == [2, 0, 0, 1]
            device.set_triggers(index, 1, numbers(triggers[1:3]))
            device.set_irqs(index, TRIGGER, 2, 1, None)
            assert [t.read() for t in triggers[:4]] == [0, 0, 1, 0]
        device.disable_irqs(index)
        with pytest.raises(DeviceError, match="it is not enabled"):
            device.set_irqs(index, TRIGGER, 0, 1, None)


@pytest.mark.every_kernel
@pytest.mark.parametrize("noresize", [False, True])
def test_more_vectors_than_at_first(
    lab_device: Callable[[str], str],
    eventfds: Callable[[int], list[EventFd]],
    profile: str,
    noresize: bool,
) -> None:
    """By dynamic MSI-X where the kernel has it; by enabling them all again, everywhere."""
    with open_device(lab_device("nvme"), backend=BY_NAME[profile].backends[0]) as device:
        info = device.irq_info(MSIX)
        flags = info.flags | (VFIO_IRQ_INFO_NORESIZE if noresize else 0)
        interrupts = Interrupts(device._file, lambda index: info._replace(flags=flags))
        triggers = eventfds(10)
        fds = numbers(triggers)
        interrupts.set(MSIX, TRIGGER, 0, 2, Fds(fds[:2]))
        triggers[0].signal()
        interrupts.set(MSIX, TRIGGER, 4, 1, Fds(fds[4:5]))
        interrupts.set(MSIX, TRIGGER, 5, 5, Fds(fds[5:]))
        interrupts.set(MSIX, TRIGGER, 0, 10, None)
        assert [t.read() for t in triggers] == [2, 1, 0, 0, 1, 1, 1, 1, 1, 1]
        interrupts.close()


def test_hostile_interrupts_are_refused(
    device: KernelDevice, kind: str, eventfds: Callable[[int], list[EventFd]]
) -> None:
    (eventfd,) = eventfds(1)
    fd = eventfd.fileno()

    def refused(index: int, action: int, start: int, count: int, data: IrqData) -> str:
        with pytest.raises(DeviceError) as caught:
            device.set_irqs(index, action, start, count, data)
        assert str(caught.value).startswith(device.name)
        return str(caught.value)

    for index, count in zip(KINDS_OF_IRQ, counts(device), strict=True):
        for start in (count, count - 1, 2**32 - 3, 2**32 - 1, 2**63, -1):
            refused(index, TRIGGER, start, 2, Fds([fd, fd]))
            refused(index, MASK, start, 2, None)
        refused(index, TRIGGER | MASK, 0, 1, None)
        refused(index, TRIGGER, 0, 2, [True])
        refused(index, TRIGGER, 0, 1, Fds([-2]))
        if count:
            assert "/dev/null" in refused_null(refused, index)
            assert "EBADF" in refused(index, TRIGGER, 0, 1, Fds([1 << 20]))
        if index != INTX:
            refused(index, MASK, 0, 1, None)
            refused(index, UNMASK, 0, 1, Fds([fd]))
    refused(5, TRIGGER, 0, 1, Fds([fd]))
    device.set_triggers(INTX, 0, [fd])
    other = MSIX if COUNTS[kind][MSIX] else MSI
    assert "INTx is enabled, and excludes it" in refused(other, TRIGGER, 0, 1, Fds([fd]))
    device.set_irqs(INTX, UNMASK, 0, 1, Fds([fd]))
    assert "taken away first (-1)" in refused(INTX, UNMASK, 0, 1, Fds([fd]))
    assert "mask it by call" in refused(INTX, MASK, 0, 1, Fds([fd]))
    device.disable_irqs(INTX)
    device.set_triggers(other, 0, [fd])
    device.set_irqs(other, TRIGGER, 0, 1, None)
    assert eventfd.read() == 1, "it works all the same"


def refused_null(refused: Callable[[int, int, int, int, IrqData], str], index: int) -> str:
    with open("/dev/null") as null:
        return refused(index, TRIGGER, 0, 1, Fds([null.fileno()]))


def test_the_end_of_a_device_ends_its_interrupts(
    bdf: str, backend: str, eventfds: Callable[[int], list[EventFd]]
) -> None:
    (eventfd,) = eventfds(1)
    for _ in range(2):
        with open_device(bdf, backend=backend) as device:
            mapping = device.map_region(0, device.region_info(0).areas[0])
            device.set_triggers(INTX, 0, [eventfd.fileno()])
        # The mapping keeps the device open: with its interrupts on, it could go on signalling.
        used = Path("/proc/interrupts").read_text()
        assert f"vfio-intx({device.name})" not in used
        mapping.close()


def test_the_host_asks_for_a_device_back(
    bdf: str, backend: str, eventfds: Callable[[int], list[EventFd]]
) -> None:
    (request,) = eventfds(1)
    driver = Path("/sys/bus/pci/drivers/vfio-pci")
    waiting = Thread(target=(driver / "unbind").write_text, args=(bdf,))
    with open_device(bdf, backend=backend) as device:
        device.set_triggers(REQ, 0, [request.fileno()])
        waiting.start()
        assert counted(request) == 1
        assert waiting.is_alive(), "it waits until the device is closed"
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    (driver / "bind").write_text(bdf)
