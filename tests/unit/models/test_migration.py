# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Models stopped, saved and restored: what goes on elsewhere, what waits, and what is refused."""

from __future__ import annotations

import errno
import mmap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvmm import models
from pyvmm.models import Bar, Identity, Model, MsiX, testdev
from pyvmm.models.edu import BUFFER_START, Edu
from pyvmm.models.saved_state import MAX_OWN
from pyvmm.uapi.pci_regs import (
    PCI_BASE_ADDRESS_0,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
)
from pyvmm.uapi.vfio import (
    VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
)
from pyvmm.vfio import Device, DeviceError, EventFd, Feature, Interval
from pyvmm.vfio import MigrationState as State
from pyvmm.vfio.migration_states import path
from tests.unit.vfio.migrating import STOP_COPY, client_of

CONFIG = VFIO_PCI_CONFIG_REGION_INDEX
LIMIT = 30  # seconds; nothing here takes as long
MASTER = (PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY).to_bytes(2, "little")

Memory = Callable[[Device, int, int], mmap.mmap]


def save(device: Device, piece: int = 1 << 20) -> bytes:
    """Through STOP_COPY, and stop there."""
    stream = device.migration.set_state(State.STOP_COPY)
    assert stream
    data = b""
    with stream:
        while more := stream.read(piece):
            data += more
    return data


def restore(device: Device, data: bytes, target: State = State.RUNNING) -> None:
    stream = device.migration.set_state(State.RESUMING)
    assert stream
    with stream:
        for at in range(0, len(data), 100_000):
            stream.write(data[at : at + 100_000])
        device.migration.set_state(target)


def everything(device: Device) -> list[bytes]:
    """What there is to read of a device."""
    infos = [device.region_info(index) for index in range(device.info.num_regions)]
    return [device.region_read(i.index, 0, i.size) for i in infos if i.readable]


@pytest.fixture
def used() -> Iterator[Model]:
    """A test device that has something in all its places."""
    with models.create("testdev") as device:
        device.region_write(CONFIG, PCI_COMMAND, MASTER)
        device.region_write(CONFIG, PCI_BASE_ADDRESS_0, (0xC0000000).to_bytes(4, "little"))
        device.region_write(CONFIG, 0x88, b"vendor's")
        device.region_write(0, 0x08, b"word")
        device.region_write(0, 0x20, (1 << 40).to_bytes(8, "little"))
        device.region_write(0, 0x0800, bytes(range(32)))  # MSI-X table
        device.region_write(0, 0x5000, b"mapped")
        device.region_write(1, 0x04, b"port")
        device.region_write(2, 0x100000, b"buffer")
        device.region_write(4, 0x14, b"x")
        device.region_write(5, 0x20, b"small")
        with EventFd() as eventfd:
            device.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 0, [eventfd.fileno(), -1])
            for vector in (1, 63):
                device.region_write(0, 0x10, vector.to_bytes(4, "little"))
        yield device


def test_all_of_it_is_there_afterwards(used: Model) -> None:
    data = save(used)
    with models.create("testdev") as other, EventFd() as first, EventFd() as last:
        other.region_write(0, 0x08, b"gone")
        restore(other, data)
        assert other.migration.get_state() == State.RUNNING
        assert everything(other)[1:] == everything(used)[1:]
        # It counts the accesses to itself.
        assert other.region_read(0, 0x10, 0xFF0) == used.region_read(0, 0x10, 0xFF0)
        other.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 0, [first.fileno()])
        other.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 63, [last.fileno()])
        assert last.read() == 1, "it was pending"
        assert not first.pending()


def test_over_sockets(used: Model) -> None:
    with models.create("testdev") as other, client_of(used) as source, client_of(other) as target:
        assert source.migration.data_size() > 2 << 20
        restore(target, save(source))
        assert everything(target)[1:] == everything(source)[1:]
        source.reset()
    assert used.migration.get_state() == State.RUNNING


def test_a_migration_that_is_called_off(used: Model) -> None:
    before = everything(used)[1:]
    save(used)
    with pytest.raises(DeviceError, match="its state is being saved"):
        used.region_write(0, 0x08, b"lost")
    used.migration.set_state(State.RUNNING)
    assert everything(used)[1:] == before
    used.region_write(0, 0x08, b"kept")
    assert used.region_read(0, 0x08, 4) == b"kept"


def test_streams_end_with_their_states(used: Model) -> None:
    migration = used.migration
    out = migration.set_state(State.STOP_COPY)
    assert out
    with pytest.raises(DeviceError, match="being saved, not restored"):
        out.write(b"x")
    into = migration.set_state(State.RESUMING)
    assert into
    with pytest.raises(DeviceError, match="has left the states"):
        out.read(1)
    with pytest.raises(DeviceError, match="being restored, not saved"):
        into.read(1)
    used.reset()
    assert migration.get_state() == State.RUNNING
    with pytest.raises(DeviceError, match="has left the states"):
        into.write(b"x")


@pytest.fixture
def edu() -> Iterator[Edu]:
    with Edu() as edu:
        edu.region_write(CONFIG, PCI_COMMAND, MASTER)
        yield edu


def copy_to_memory(edu: Edu, iova: int) -> None:
    edu.buffer[:5] = b"bytes"
    for offset, value in ((0x80, BUFFER_START), (0x88, iova), (0x90, 5), (0x98, 0x7)):
        edu.region_write(0, offset, value.to_bytes(4, "little"))


def test_what_is_due_waits_while_it_is_stopped(edu: Edu, memory: Memory) -> None:
    pages = memory(edu, 0x1000, 4096)
    with EventFd() as done:
        edu.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [done.fileno()])
        copy_to_memory(edu, 0x1000)
        edu.migration.set_state(State.STOP)
        time.sleep(0.15)  # its DMA is due after 0.1 s
        assert pages[:5] == bytes(5)
        edu.migration.set_state(State.RUNNING)
        assert done.wait(LIMIT)
        assert pages[:5] == b"bytes"


def test_what_was_under_way_goes_on_elsewhere(edu: Edu, memory: Memory) -> None:
    here = memory(edu, 0x1000, 4096)
    copy_to_memory(edu, 0x1000)
    edu.region_write(0, 0x20, (0x80).to_bytes(4, "little"))
    edu.region_write(0, 0x08, (5).to_bytes(4, "little"))
    data = save(edu)
    with Edu() as other, EventFd() as done:
        there = memory(other, 0x1000, 4096)
        other.set_triggers(VFIO_PCI_MSI_IRQ_INDEX, 0, [done.fileno()])
        restore(other, data)
        deadline = time.monotonic() + LIMIT
        while other.IRQ_STATUS != 0x101:
            assert time.monotonic() < deadline
            done.wait(0.1)
        assert there[:5] == b"bytes"
        assert other.FACTORIAL == 120
    assert here[:5] == bytes(5)


class Stepper(Model):
    """Writes once, then, when told to, once more, and signals; all in one piece of work."""

    identity = Identity(0x1234, 0x9999, class_code=0xFF0000)
    bar0 = Bar(0, 0x2000)
    capabilities = (MsiX(4, table=(0, 0x1000), pba=(0, 0x1800)),)
    GO = bar0.register(0x00, "wo")
    RUNG = bar0.register(0x04, "ro")
    BELL = bar0.doorbell(0x10)

    def __init__(self) -> None:
        super().__init__("stepper")
        self.half, self.go_on, self.over = (threading.Event() for _ in range(3))
        self.own = b""
        self.breaks = False

    @GO.on_write
    def go(self, value: int) -> None:
        self.start(self.steps, self.finished)

    def steps(self) -> None:
        self.dma_write(0x1000, b"1")
        self.half.set()
        self.go_on.wait(LIMIT)
        self.dma_write(0x1001, b"2")

    def finished(self, _: None) -> None:
        self.signal(2)
        self.over.set()

    @BELL.on_ring
    def rung(self, times: int) -> None:
        self.RUNG += times

    def on_save(self) -> bytes:
        if self.breaks:
            raise RuntimeError("a bug")
        return self.own

    def on_restore(self, data: bytes) -> None:
        if self.breaks:
            raise RuntimeError("a bug")
        self.own = data


@pytest.fixture
def stepper() -> Iterator[Stepper]:
    with Stepper() as stepper:
        stepper.region_write(CONFIG, PCI_COMMAND, MASTER)
        yield stepper
        stepper.go_on.set()


def test_work_under_way_stops_at_its_next_dma(stepper: Stepper, memory: Memory) -> None:
    pages = memory(stepper, 0x1000, 4096)
    with EventFd() as done:
        stepper.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 2, [done.fileno()])
        stepper.region_write(0, 0, bytes(4))
        assert stepper.half.wait(LIMIT)
        stepper.migration.set_state(State.STOP)
        stepper.go_on.set()
        assert not stepper.over.wait(0.05)
        assert pages[:2] == b"1\0"
        stepper.migration.set_state(State.RUNNING)
        assert done.wait(LIMIT)
        assert pages[:2] == b"12"


def test_a_stop_waits_for_a_view_whatever_is_done_in_it(
    stepper: Stepper, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also DMA, which otherwise would wait for the stop to be over."""
    pages = memory(stepper, 0x1000, 4096)

    def steps() -> None:
        with stepper.dma_view(0x1000, 4, write=True) as view:
            assert view is not None
            stepper.half.set()
            stepper.go_on.wait(LIMIT)
            stepper.dma_write(0x1004, stepper.dma_read(0x1000, 1))
            view[:2] = b"ok"
        del view
        stepper.dma_write(0x1008, b"later")

    monkeypatch.setattr(stepper, "steps", steps)
    stepper.region_write(0, 0, bytes(4))
    assert stepper.half.wait(LIMIT)
    stop = threading.Thread(target=stepper.migration.set_state, args=(State.STOP,))
    stop.start()
    stop.join(0.05)
    assert stop.is_alive()
    stepper.go_on.set()
    stop.join(LIMIT)
    assert not stop.is_alive()
    assert pages[:13] == b"ok" + bytes(11)
    stepper.migration.set_state(State.RUNNING)
    assert stepper.over.wait(LIMIT)
    assert pages[8:13] == b"later"


@pytest.mark.parametrize("end", ["reset", "close", "restore"])
def test_work_that_is_stopped_can_be_dropped(stepper: Stepper, memory: Memory, end: str) -> None:
    pages = memory(stepper, 0x1000, 4096)
    with Stepper() as other:
        data = save(other)
    stepper.region_write(0, 0, bytes(4))
    assert stepper.half.wait(LIMIT)
    stepper.migration.set_state(State.STOP)
    stepper.go_on.set()
    if end == "reset":
        stepper.reset()
        assert stepper.migration.get_state() == State.RUNNING
    elif end == "close":
        stepper.close()
    else:
        restore(stepper, data)
    assert not stepper.over.wait(0.05)
    assert pages[1:2] == b"\0"


def test_what_is_signalled_while_it_is_stopped_is_pending(stepper: Stepper) -> None:
    with EventFd() as eventfd:
        stepper.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 2, [eventfd.fileno()])
        stepper.migration.set_state(State.STOP)
        stepper.signal(2)
        assert not eventfd.pending()
        data = save(stepper)
        stepper.migration.set_state(State.RUNNING)
        assert eventfd.read() == 1
        with Stepper() as other:
            other.set_triggers(VFIO_PCI_MSIX_IRQ_INDEX, 2, [eventfd.fileno()])
            restore(other, data)
            assert eventfd.read() == 1


def test_the_intx_line_is_state(edu: Edu) -> None:
    edu.region_write(0, 0x60, (1).to_bytes(4, "little"))
    data = save(edu)
    with Edu() as other, EventFd() as eventfd:
        other.set_triggers(0, 0, [eventfd.fileno()])
        restore(other, data, State.STOP)
        assert not eventfd.pending()
        other.migration.set_state(State.RUNNING)
        assert eventfd.read() == 1
        assert other.region_read(CONFIG, 0x06, 1)[0] & 0x08


def test_doorbells_that_were_rung_are_in_the_state(stepper: Stepper) -> None:
    (bell,) = stepper.ioeventfds(0)
    for rung in range(1, 50):
        with EventFd.from_fd(bell.fd) as eventfd:
            eventfd.signal()
        stepper.migration.set_state(State.STOP_COPY)
        assert rung == stepper.RUNG
        stepper.migration.set_state(State.RUNNING)


def test_what_it_wrote_is_logged(stepper: Stepper, memory: Memory) -> None:
    memory(stepper, 0x1000, 4096)
    log = stepper.dma_logging
    log.start([])
    stepper.go_on.set()
    stepper.region_write(0, 0, bytes(4))
    assert stepper.over.wait(LIMIT)
    assert log.report(Interval(0, 1 << 20)) == (Interval(0x1000, 0x2000),)
    log.stop()


def test_a_model_that_fails_to_save(stepper: Stepper) -> None:
    stepper.breaks = True
    with pytest.raises(DeviceError, match=r"saving its state: EIO.*it is in STOP now"):
        save(stepper)
    stepper.breaks = False
    stepper.own = bytes(MAX_OWN + 1)
    with pytest.raises(DeviceError, match="EIO"):
        save(stepper)
    stepper.own = b"own"
    assert save(stepper)


def test_a_model_that_fails_to_restore(stepper: Stepper) -> None:
    data = save(stepper)
    stepper.breaks = True
    with pytest.raises(DeviceError, match=r"restoring its state: EINVAL.*it is in ERROR now"):
        restore(stepper, data)
    stepper.breaks = False
    stepper.reset()
    restore(stepper, data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: b"", "no state of a model"),
        (lambda data: b"x" + data[1:], "no state of a model"),
        (lambda data: data[:-1], "incomplete"),
        (lambda data: data + b"\0", "damaged"),
        (lambda data: data.replace(b"identity", b"jdentity"), "damaged"),
        (lambda data: data.replace(b"\x34\x12\x99\x99", b"\x34\x12\x99\x98"), "another device"),
        (lambda data: data.replace(b"version\x01", b"version\x02"), "version 2"),
        (lambda data: data.replace(b"0+0x4/4", b"0+0x8/4"), "other registers"),
        (lambda data: data.replace(b"0+0x1000", b"0+0x1010"), "other RAM"),
    ],
)
def test_states_that_are_none(stepper: Stepper, change: Callable[[bytes], bytes], why: str) -> None:
    data = save(stepper)
    bad = change(data)
    assert bad != data
    with pytest.raises(DeviceError, match=why) as caught:
        restore(stepper, bad)
    assert caught.value.errno == errno.EINVAL
    assert stepper.migration.get_state() == State.ERROR
    with pytest.raises(DeviceError, match="only a reset"):
        stepper.migration.set_state(State.RUNNING)
    stepper.reset()
    restore(stepper, data)


def test_there_is_an_end_to_what_it_takes(stepper: Stepper) -> None:
    stream = stepper.migration.set_state(State.RESUMING)
    assert stream
    stream.write(bytes(MAX_OWN))
    with pytest.raises(DeviceError, match=r"no more than \d+ bytes") as caught:
        stream.write(bytes(MAX_OWN))
    assert caught.value.errno == errno.EFBIG


def test_only_what_a_guest_can_change_is_restored_of_configuration_space(edu: Edu) -> None:
    data = save(edu)
    config = bytes(edu.config.data)
    assert data.count(config) == 1
    bad = data.replace(config, config[:4] + b"\xff" * 4 + config[8:12] + b"\xff" * 244)
    with Edu() as other:
        restore(other, bad)
        mine = bytes(other.config.data)
        assert mine[0x34:0x3C] == config[0x34:0x3C], "the chain of capabilities is its own"
        assert mine[0x2C:0x30] == config[0x2C:0x30]
        assert mine[4] & PCI_COMMAND_MASTER


places = st.integers(0, 1 << 30)
changes = st.lists(st.tuples(places, st.binary(min_size=1, max_size=9)), max_size=4)


@settings(max_examples=15)
@given(changes, places)
def test_whatever_comes_the_device_is_one_afterwards(
    changes: list[tuple[int, bytes]], cut: int
) -> None:
    with ExitStack() as stack:
        source, target = (stack.enter_context(Edu()) for _ in range(2))
        data = bytearray(save(source))
        for at, piece in changes:
            data[at % len(data) : at % len(data) + len(piece)] = piece
        data = data[: len(data) - cut % len(data)] if cut % 3 == 0 else data
        refused = 0
        try:
            restore(target, bytes(data))
        except DeviceError as error:
            refused = error.errno
            target.reset()
        assert refused in (0, errno.EINVAL)
        assert target.migration.get_state() == State.RUNNING
        assert target.region_read(0, 0x00, 4) is not None
        everything(target)


walks = st.lists(st.sampled_from(State), max_size=12)


@settings(max_examples=60)
@given(walks)
def test_every_walk_is_as_far_as_the_ways_go(walk: list[State]) -> None:
    """Nothing is written in RESUMING: no way out of there, but by a reset."""
    with Stepper() as model:
        here = State.RUNNING
        for target in walk:
            way = path(here, target, STOP_COPY)
            if way and here == State.RESUMING:
                with pytest.raises(DeviceError):
                    model.migration.set_state(target)
                assert model.migration.get_state() == State.ERROR
                model.reset()
                here = State.RUNNING
            elif way is None:
                with pytest.raises(DeviceError) as caught:
                    model.migration.set_state(target)
                assert caught.value.errno == errno.EINVAL
            else:
                stream = model.migration.set_state(target)
                assert (stream is not None) == (
                    target in (State.STOP_COPY, State.RESUMING) and bool(way)
                )
                here = target
            assert model.migration.get_state() == here


def test_a_transfer_of_the_test_device_goes_on_elsewhere(memory: Memory) -> None:
    held = threading.Event()

    class Slow(testdev.TestDevice):
        def _transfer(self, transfer):  # type: ignore[no-untyped-def]
            held.wait(LIMIT)
            return super()._transfer(transfer)

    with Slow("testdev") as device, models.create("testdev") as other:
        device.region_write(CONFIG, PCI_COMMAND, MASTER)
        for offset, value in ((0x20, 0x1000), (0x28, 8), (0x3C, 7), (0x2C, 2)):
            device.region_write(0, offset, value.to_bytes(4, "little"))
        data = save(device)
        held.set()
        pages = memory(other, 0x1000, 4096)
        restore(other, data)
        deadline = time.monotonic() + LIMIT
        while other.region_read(0, 0x30, 4) != (2).to_bytes(4, "little"):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert pages[:8] == b"\7\0\0\0\x08\0\0\0"


@pytest.mark.parametrize("name", ["nvme", "virtio-rng", "virtio-blk", "virtio-console"])
def test_models_that_can_not_save_all_of_it(name: str) -> None:
    with models.create(name) as model:
        with pytest.raises(DeviceError, match="can't save all of its state") as caught:
            _ = model.migration
        assert caught.value.errno == errno.ENOTTY
        assert not model.features.probe(Feature.MIGRATION)
