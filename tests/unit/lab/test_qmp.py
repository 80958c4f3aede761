# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""QMP with a scripted QEMU: answers in any order, events between, refusals, silence, the end."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pyvmm.lab.errors import LabEnded, LabSilent, QmpError
from pyvmm.lab.qmp import Qmp


class ScriptedQemu:
    """The other end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fds: list[int] = []
        self._rest = b""

    def say(self, **message: object) -> None:
        self.sock.sendall(json.dumps(message).encode() + b"\r\n")

    def hear(self) -> dict[str, object]:
        while b"\n" not in self._rest:
            data, fds, _, _ = socket.recv_fds(self.sock, 4096, 4)
            assert data
            self._rest += data
            self.fds += fds
        line, _, self._rest = self._rest.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def pair() -> Iterator[tuple[Qmp, ScriptedQemu]]:
    ours, theirs = socket.socketpair()
    qemu = ScriptedQemu(theirs)
    with Qmp(ours) as qmp:
        yield qmp, qemu
        qemu.close()


def meanwhile(script: object) -> threading.Thread:
    thread = threading.Thread(target=script)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_greeting(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair

    def script() -> None:
        qemu.say(QMP={"version": {}})
        asked = qemu.hear()
        assert asked["execute"] == "qmp_capabilities"
        qemu.say(**{"return": {}}, id=asked["id"])

    thread = meanwhile(script)
    qmp.greet(seconds=10)
    thread.join()


def test_events_come_between(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair

    def script() -> None:
        asked = qemu.hear()
        qemu.say(event="STOP")
        qemu.say(event="DEVICE_DELETED", data={"device": "a"})
        qemu.say(event="DEVICE_DELETED", data={"device": "b"})
        qemu.say(**{"return": {"status": "paused"}}, id=asked["id"])

    thread = meanwhile(script)
    assert qmp.execute("query-status", {"x": 1}) == {"status": "paused"}
    thread.join()
    assert qmp.event("DEVICE_DELETED", lambda data: data["device"] == "b") == {"device": "b"}
    assert qmp.event("DEVICE_DELETED") == {"device": "a"}
    with pytest.raises(LabSilent, match="DEVICE_DELETED"):
        qmp.event("DEVICE_DELETED", seconds=0)


def test_answers_go_to_who_asked(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair
    answers: dict[str, object] = {}

    def ask(command: str) -> None:
        answers[command] = qmp.execute(command)

    askers = [threading.Thread(target=ask, args=(command,)) for command in ("one", "two")]
    for asker in askers:
        asker.start()
    for asked in sorted((qemu.hear(), qemu.hear()), key=lambda asked: -int(str(asked["id"]))):
        qemu.say(**{"return": asked["execute"]}, id=asked["id"])
    for asker in askers:
        asker.join()
    assert answers == {"one": "one", "two": "two"}


def test_refusal(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair

    def script() -> None:
        asked = qemu.hear()
        qemu.say(error={"class": "GenericError", "desc": "no such bus"}, id=asked["id"])

    thread = meanwhile(script)
    with pytest.raises(QmpError, match="device_add: no such bus"):
        qmp.execute("device_add")
    thread.join()


def test_descriptors_are_passed(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair
    passed = os.memfd_create("passed")

    def script() -> None:
        asked = qemu.hear()
        qemu.say(**{"return": {}}, id=asked["id"])

    thread = meanwhile(script)
    qmp.execute("getfd", {"fdname": "x"}, fds=(passed,))
    thread.join()
    (got,) = qemu.fds
    assert os.path.sameopenfile(got, passed)
    os.close(got)
    os.close(passed)


@pytest.mark.parametrize("noise", [b"no json\n", b"[]\n", b"\xff\xfe\n", b"\n\n"])
def test_noise_is_passed_over(pair: tuple[Qmp, ScriptedQemu], noise: bytes) -> None:
    qmp, qemu = pair
    qemu.sock.sendall(noise)
    qemu.say(event="RESUME")
    assert qmp.event("RESUME", seconds=10) == {}


def test_the_end_is_told(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair
    qemu.close()
    with pytest.raises(LabEnded):
        qmp.execute("query-status")


def test_a_wait_ends_with_qemu(pair: tuple[Qmp, ScriptedQemu]) -> None:
    qmp, qemu = pair

    def script() -> None:
        qemu.hear()
        qemu.close()

    thread = meanwhile(script)
    with pytest.raises(LabEnded):
        qmp.execute("migrate")
    thread.join()
