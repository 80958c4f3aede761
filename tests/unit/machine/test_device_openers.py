# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""DeviceOpeners: starts what a config lists, says how to open it, and ends it all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from pyvmm.config import Device, parse
from pyvmm.machine.devices import DeviceOpeners
from pyvmm.models import Model, ModelError
from pyvmm.vfio import DeviceError, DeviceGone, DeviceSilent
from pyvmm.vfio.user import Client

LIMIT = 30.0


def configs(*devices: dict[str, object]) -> Sequence[Device]:
    return parse({"kernel": "none", "devices": list(devices)}).devices


def never(error: Exception) -> None:
    raise AssertionError(f"nothing is lost: {error}")


def test_in_the_order_of_the_config(no_leaks: None) -> None:
    listed = configs({"model": "edu", "process": True}, {"model": "testdev"}, {"model": "edu"})
    owner = DeviceOpeners(listed)
    with ExitStack() as stack:
        devices = [stack.enter_context(open(never)) for open in owner]
        assert [type(device) is Client for device in devices] == [True, False, False]
        assert [device.name for device in devices] == ["edu", "testdev", "edu"]
        assert all(isinstance(device, Model) for device in devices[1:])
    owner.close()
    owner.close()


def test_closed_without_having_been_opened(no_leaks: None) -> None:
    DeviceOpeners(configs({"model": "edu", "process": True})).close()


def test_a_wrong_model_after_a_process(no_leaks: None) -> None:
    """Known before the process would be started, and the other one is ended."""
    listed = configs({"model": "edu", "process": True}, {"model": "edo", "process": True})
    with pytest.raises(ModelError):
        DeviceOpeners(listed)


def test_processes_end_though_the_host_s_devices_do_not_close(no_leaks: None) -> None:
    class Host:
        def close(self) -> None:
            raise DeviceError("unmapping everything", 5)

    owner = DeviceOpeners(configs({"model": "edu", "process": True}, {"model": "edu"}))
    monkey: Any = owner
    monkey._host = Host()
    with pytest.raises(DeviceError, match="unmapping everything"):
        owner.close()
    monkey._host = None
    assert owner._processes == {}


def test_one_that_does_not_open(no_leaks: None) -> None:
    owner = DeviceOpeners(configs({"model": "edu", "process": True}, {"socket": "/no/socket"}))
    with pytest.raises(DeviceGone):
        list(owner)[1](never)
    owner.close()


def test_a_process_that_dies_before_it_is_opened(no_leaks: None) -> None:
    owner = DeviceOpeners(configs({"model": "edu", "process": True}))
    (process,) = owner._processes.values()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(DeviceGone, match=r"hung up; the process of edu .* signal 9 \(Killed\)"):
        next(iter(owner))(never)
    owner.close()


@pytest.mark.parametrize(("start", "timeout"), [(0.2, 0.1), (0.1, 0.2)])
def test_a_process_has_the_time_that_it_takes_to_start(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch, start: float, timeout: float
) -> None:
    """However little the config leaves it for each reply."""
    monkeypatch.setattr("pyvmm.machine.model_process.START_LIMIT", start)
    monkeypatch.setattr("pyvmm.machine.model_process._GRACE", 0.01)
    owner = DeviceOpeners(configs({"model": "edu", "process": True, "timeout": timeout}))
    (process,) = owner._processes.values()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(DeviceSilent, match=r"answer VFIO_USER_VERSION within 0\.2 s; .* too busy"):
        next(iter(owner))(never)
    owner.close()


def test_a_process_that_starts_slowly(no_leaks: None) -> None:
    owner = DeviceOpeners(configs({"model": "edu", "process": True, "timeout": LIMIT / 10}))
    (process,) = owner._processes.values()
    os.kill(process.pid, signal.SIGSTOP)
    timer = threading.Timer(LIMIT / 8, os.kill, (process.pid, signal.SIGCONT))
    timer.start()
    with next(iter(owner))(never) as device:
        assert device.name == "edu"
    timer.join()
    owner.close()


def test_a_process_that_dies_later(no_leaks: None) -> None:
    lost: list[Exception] = []
    told = threading.Event()

    def note(error: Exception) -> None:
        lost.append(error)
        told.set()

    owner = DeviceOpeners(configs({"model": "edu", "process": True}))
    (process,) = owner._processes.values()
    with next(iter(owner))(note):
        os.kill(process.pid, signal.SIGKILL)
        # Nobody has to touch the device for it to be noticed.
        assert told.wait(LIMIT)
    owner.close()
    (error,) = lost
    assert isinstance(error, DeviceGone)
    assert str(error) == (
        f"edu hung up; the process of edu (pid {process.pid}) was ended by signal 9 (Killed)"
    )
