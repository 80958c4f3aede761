# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Notices: who is called when the host wants a device back, and when it fails."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_PCI_ERR_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX,
)
from pyvmm.vfio import DeviceError, DeviceGone, IrqData, IrqInfo, VfioError
from pyvmm.vfio.kernel.notices import Notices
from tests.unit.vfio.fakes import PATIENCE, FakeDevice, open_files

ERR, REQ = VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX


class NoticingDevice(FakeDevice):
    """It has REQ, and ERR unless told otherwise."""

    kinds: tuple[int, ...] = (ERR, REQ)

    def irq_info(self, index: int) -> IrqInfo:
        if index in self.kinds:
            return IrqInfo(index, VFIO_IRQ_INFO_EVENTFD, 1)
        return super().irq_info(index)

    def notify(self, index: int) -> None:
        self.triggers[index, 0].signal()


class Calls:
    """Counts calls, and can be waited for."""

    def __init__(self) -> None:
        self._came = threading.Semaphore(0)

    def __call__(self) -> None:
        self._came.release()

    def came(self) -> bool:
        return self._came.acquire(timeout=PATIENCE)

    @property
    def none_left(self) -> bool:
        return not self._came.acquire(blocking=False)


@pytest.fixture
def noticing() -> Iterator[NoticingDevice]:
    with NoticingDevice() as device:
        yield device


def test_each_notice_has_its_callback(noticing: NoticingDevice) -> None:
    request, error = Calls(), Calls()
    with Notices(noticing, request=request, error=error):
        noticing.notify(REQ)
        assert request.came()
        noticing.notify(ERR)
        assert error.came()
        noticing.notify(REQ)  # whoever wants it back asks again
        assert request.came()
    assert request.none_left
    assert error.none_left
    assert not noticing.triggers


def test_what_nobody_asks_for_or_there_isnt_is_left_alone(noticing: NoticingDevice) -> None:
    with Notices(noticing, request=Calls()):
        assert set(noticing.triggers) == {(REQ, 0)}
    noticing.kinds = ()
    with Notices(noticing, request=Calls(), error=Calls()):
        assert not noticing.triggers


def test_closing_is_idempotent_and_may_be_the_callbacks_doing(noticing: NoticingDevice) -> None:
    closed = threading.Event()

    def request() -> None:
        notices.close()
        notices.close()
        closed.set()

    notices = Notices(noticing, request=request)
    noticing.notify(REQ)
    assert closed.wait(PATIENCE)
    assert not noticing.triggers
    notices.close()


def test_it_outlives_the_device(noticing: NoticingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()

    def gone(*_: object) -> None:
        raise DeviceGone("fake: closed")

    with monkeypatch.context() as patch, Notices(noticing, request=Calls()):
        patch.setattr(noticing, "disable_irqs", gone)
    noticing.disable_irqs(REQ)
    assert open_files() == files


def test_half_a_set_up_is_undone(noticing: NoticingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()
    set_irqs = noticing.set_irqs

    def refusing(index: int, action: int, start: int, count: int, data: IrqData) -> None:
        if index == ERR:
            raise DeviceError.answered("setting ERR", errno.ENOMEM)
        set_irqs(index, action, start, count, data)

    with monkeypatch.context() as patch:
        patch.setattr(noticing, "set_irqs", refusing)
        with pytest.raises(DeviceError):
            Notices(noticing, request=Calls(), error=Calls())
    assert not noticing.triggers
    assert open_files() == files


def test_no_thread_is_told(noticing: NoticingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(VfioError, match="ulimit -u"):
            Notices(noticing, request=Calls())
    assert not noticing.triggers
    assert open_files() == files
